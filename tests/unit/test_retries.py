"""docs/retries.md is true: its numbers are those of the code, and its tests exist."""

import re

from tests.support.tables import ROOT, rows, without_tests

ROWS = rows("docs/retries.md")
NUMBER = re.compile(r"`([A-Z_]+) = ([^`]+)`(?=.*? in `([\w/.]+)`)")
LOOP = re.compile(r"\b(?:\w+_TRIES|ATTEMPTS|\w*RETRY\w*_S|\w*RETRIES)\b(?= = |\": )")
"""Names of constants that say how often something is repeated."""
EXAMPLE = "`A = 1` of `B = 2.0` in `some/file.py` and `C = (1, 2)` in `other.js`"


def numbers() -> list[tuple[str, str, str]]:
    """Name, value and file of every number in the table."""
    return [found for row in ROWS for cell in row for found in NUMBER.findall(cell)]


def test_numbers_are_found() -> None:
    assert NUMBER.findall(EXAMPLE) == [
        ("A", "1", "some/file.py"),
        ("B", "2.0", "some/file.py"),
        ("C", "(1, 2)", "other.js"),
    ]


def test_every_number_is_the_one_of_the_code() -> None:
    wrong = []
    for name, value, path in numbers():
        text = (ROOT / path).read_text(encoding="utf-8")
        written = rf'^(?:const )?{name} = {re.escape(value)};?$|^ +"{name}": "{re.escape(value)}",$'
        if not re.search(written, text, re.MULTILINE):
            wrong.append(f"{path}: {name} = {value}")
    assert numbers()
    assert wrong == []


def test_every_constant_of_a_retry_is_in_the_table() -> None:
    named = {(name, path) for name, _, path in numbers()}
    missing = []
    for folder in ("deployments", "serve_app"):
        for path in (ROOT / folder).rglob("*.py"):
            found = LOOP.findall(path.read_text(encoding="utf-8"))
            where = str(path.relative_to(ROOT))
            missing += [(name, where) for name in found if (name, where) not in named]
    assert missing == []


def test_every_row_names_tests_that_exist() -> None:
    assert without_tests([row[-1] for row in ROWS]) == []
