"""The reasons why a file could not be read, in words and without Python's names."""

import json


def in_words(error: BaseException) -> str:
    """The reason in one line."""
    status = _status(error)
    if status is not None:
        return f"its server answers {status}"
    if isinstance(error, json.JSONDecodeError):
        return f"it is not JSON: {error}"
    if isinstance(error, UnicodeError):
        return "it is not valid UTF-8"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def told(error: Exception) -> str:
    """The message of an error that names its file already; of the file system's, the file and the reason."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _status(error: BaseException) -> str | None:
    """The status of the HTTP answer behind an error, which fsspec hides: of a 404 it tells the URL alone."""
    cause: BaseException | None = error
    while cause is not None:
        status = getattr(cause, "status", None)
        if isinstance(status, int):
            return f"{status} {getattr(cause, 'message', '')}".strip()
        error, cause = cause, cause.__cause__
    lone_url = isinstance(error, FileNotFoundError) and str(error).startswith(("http://", "https://"))
    return "404 Not Found" if lone_url else None
