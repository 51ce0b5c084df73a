"""The parts of a COCO file, each found to be of its type before anything is done with it: people and programs write
such files, and an error of Python's would not say where."""

import json
from collections.abc import Mapping
from typing import Any


def rows_of(document: Any, name: str) -> list[Mapping[str, Any]]:
    """The objects of one of the file's lists. Raises ValueError."""
    rows = document.get(name) if isinstance(document, Mapping) else None
    if not isinstance(rows, list):
        raise ValueError(f"it is not a COCO file, whose `{name}` is a list")
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping):
            raise ValueError(f"the {_ordinal(number)} of its `{name}` is no object but {shown(row)}")
    return rows


def number_of(row: Mapping[str, Any], name: str, what: str) -> int:
    """A whole number of a row, such as its id. what: the row, in words. Raises ValueError."""
    value = row.get(name)
    if isinstance(value, str) and value.isdecimal():
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{what} has no whole number as `{name}`" + _but(row, name))
    return value


def text_of(row: Mapping[str, Any], name: str, what: str) -> str:
    """A text of a row, such as the name of a class. what: as in `number_of`. Raises ValueError."""
    value = row.get(name)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{what} has no text as `{name}`" + _but(row, name))
    return value.strip()


def shown(value: Any) -> str:
    """The beginning of a value, as the file has it."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:40]}..."


def _but(row: Mapping[str, Any], name: str) -> str:
    return f" but {shown(row[name])}" if name in row else ""


def _ordinal(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
