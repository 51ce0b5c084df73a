import errno
import json

import pytest

from serve_app.label.reasons import in_words, told


class Answered(Exception):
    status = 503
    message = "Service Unavailable"


def not_json() -> Exception:
    try:
        json.loads("{")
    except json.JSONDecodeError as error:
        return error
    raise AssertionError


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (not_json(), "it is not JSON: Expecting property name"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), "it is not valid UTF-8"),
        (RecursionError("maximum recursion depth exceeded"), "it is nested too deeply"),
        (PermissionError(errno.EACCES, "Permission denied", "/a"), "Permission denied"),
        (Answered("503, message=..."), "its server answers 503 Service Unavailable"),
        (FileNotFoundError("https://a.example/l.txt"), "its server answers 404 Not Found"),
        (FileNotFoundError("bucket/l.txt"), "bucket/l.txt"),
        (ValueError("two\nlines"), "two lines"),
        (KeyError(), "KeyError"),
    ],
)
def test_an_error_is_told_in_one_line_of_words(error: Exception, words: str) -> None:
    assert in_words(error).startswith(words)
    assert "\n" not in in_words(error)


def test_the_status_behind_an_error_is_found() -> None:
    error = FileNotFoundError("https://a.example/l.parquet")
    error.__cause__ = Answered()
    assert in_words(error) == "its server answers 503 Service Unavailable"


def test_an_error_of_the_file_system_names_its_file() -> None:
    assert told(PermissionError(errno.EACCES, "Permission denied", "/a")) == "/a: Permission denied"
    assert told(OSError("the disk is gone")) == "the disk is gone"
