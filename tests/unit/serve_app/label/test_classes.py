from pathlib import Path

import pytest

from serve_app.label.classes import LabelClass, file_lines, parse_class, parse_classes


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("traffic cone", LabelClass("traffic cone", ("traffic cone",), (), 0.5)),
        ("  person @0.35 ", LabelClass("person", ("person",), (), 0.35)),
        ("car: car | pickup truck", LabelClass("car", ("car", "pickup truck"))),
        ("dog: !toy dog", LabelClass("dog", ("dog",), ("toy dog",))),
        ("dog: dog | puppy | !toy dog @0.4", LabelClass("dog", ("dog", "puppy"), ("toy dog",), 0.4)),
        ("C #1", LabelClass("C #1", ("C #1",))),
        ("#1", LabelClass("#1", ("#1",))),
        ("me@home", LabelClass("me@home", ("me@home",))),
        ("میز\u200cها", LabelClass("میز\u200cها", ("میز\u200cها",))),  # Persian joins letters so
    ],
)
def test_a_line_names_a_class(line: str, expected: LabelClass) -> None:
    assert parse_class(line, 0.5) == expected


@pytest.mark.parametrize(
    "line",
    [
        "cat @high",
        "cat @1.5",
        "cat @",
        "cat: cat | kitten @ ",
        "cat @nan",
        ": cat",
        "cat: cat | cat",
        "cat: cat | !cat",
        "cat: |",
        "x" * 201,
        "a\x1b[2Jcat",
    ],
)
def test_a_line_that_names_no_class_is_refused(line: str) -> None:
    with pytest.raises(ValueError):
        parse_class(line, 0.5)


def classes_of(folder: Path, text: str) -> list[LabelClass]:
    path = folder / "classes.txt"
    path.write_text(text, encoding="utf-8")
    return parse_classes(file_lines(path), 0.5)


def test_a_file_keeps_its_order_and_may_have_comments(tmp_path: Path) -> None:
    text = "\ufeffzebra\r\n\n  # all of them\napple  # red or green\nno#comment\nC \\#1\n\\#2\n"
    names = [one.name for one in classes_of(tmp_path, text)]
    assert names == ["zebra", "apple", "no#comment", "C #1", "#2"]


@pytest.mark.parametrize("name", ["C #1", "#1", "a#b", "a: #1 | b #2 | !#3"])
def test_a_class_of_the_command_line_is_the_same_in_a_file(tmp_path: Path, name: str) -> None:
    one = parse_class(name, 0.25)
    assert classes_of(tmp_path, one.line()) == [one]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("cat\n\n# dogs\ndog @2", r"classes\.txt, line 4: the threshold of class 'dog'"),
        ("cat @", r"classes\.txt, line 1: 'cat @': a threshold is expected behind @, not nothing"),
        ("cat\ndog\nCat\n", r"classes\.txt, line 3: class 'Cat' is there twice"),
        ("cat: cat | cat", r"classes\.txt, line 1: class 'cat' names a phrase twice"),
    ],
)
def test_a_mistake_is_told_with_the_file_and_the_line(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        classes_of(tmp_path, text)


@pytest.mark.parametrize("lines", [[], ["cat", "dog", "Cat"]])
def test_lines_name_each_class_once_and_at_least_one(lines: list[str]) -> None:
    with pytest.raises(ValueError):
        parse_classes(lines, 0.5)
