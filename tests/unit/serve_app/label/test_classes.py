import pytest

from serve_app.label.classes import LabelClass, parse_class, parse_classes


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("traffic cone", LabelClass("traffic cone", ("traffic cone",), (), 0.5)),
        ("  person @0.35 ", LabelClass("person", ("person",), (), 0.35)),
        ("car: car | pickup truck", LabelClass("car", ("car", "pickup truck"))),
        ("dog: !toy dog", LabelClass("dog", ("dog",), ("toy dog",))),
        ("dog: dog | puppy | !toy dog @0.4", LabelClass("dog", ("dog", "puppy"), ("toy dog",), 0.4)),
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


def test_a_file_keeps_its_order_and_may_have_comments() -> None:
    lines = ["\ufeffzebra", "", "# all of them", "apple  # red or green", "no#comment"]
    assert [one.name for one in parse_classes(lines, 0.5)] == ["zebra", "apple", "no#comment"]


@pytest.mark.parametrize("lines", [[], ["", "# nothing"], ["cat", "dog", "Cat"]])
def test_a_file_names_each_class_once_and_at_least_one(lines: list[str]) -> None:
    with pytest.raises(ValueError):
        parse_classes(lines, 0.5)
