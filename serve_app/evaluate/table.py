"""A comparison as a table of text: a line a class, the models side by side below each figure."""

from collections.abc import Iterator
from math import isnan
from string import ascii_uppercase

from serve_app.evaluate.comparison import Comparison, Difference
from serve_app.evaluate.figures import NAMES, Figures

ALL = "all"
LONGEST_NAME = 32
NUMBER = 7
"""Characters of a column."""


def lines(found: Comparison) -> Iterator[str]:
    """The lines of the table, its legend, and the differences."""
    letters = ascii_uppercase[: len(found.results)]
    for letter, result in zip(letters, found.results, strict=True):
        yield f"{letter}  {result.label}  ({result.weights})"
    yield ""
    names = [one.name for one in found.classes]
    width = max(len(ALL), len("class"), *(min(len(name), LONGEST_NAME) for name in names))
    group = NUMBER * len(letters)
    yield f"{'':{width + 9}}" + "".join(f"  {name:>{group}}" for name in NAMES.values())
    heads = "  " + "".join(f"{letter:>{NUMBER}}" for letter in letters)
    yield f"{'class':{width}}{'objects':>9}" + heads * len(NAMES)
    for name in names:
        yield _line(name, width, found.objects(name), [one.classes[name] for one in found.results])
    whole = sum(map(found.objects, names))
    yield _line(ALL, width, whole, [one.overall for one in found.results])
    yield ""
    for letter, result in list(zip(letters, found.results, strict=True))[1:]:
        told = (f"{NAMES[name]} {_difference(apart)}" for name, apart in found.differences(result).items())
        yield f"{letter} against {letters[0]}: {', '.join(told)}"


def _line(name: str, width: int, objects: int, of_models: list[Figures]) -> str:
    shown = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 3]}..."
    groups = (
        "  " + "".join(f"{number(getattr(one, figure)):>{NUMBER}}" for one in of_models) for figure in NAMES
    )
    return f"{shown:{width}}{objects:>9}" + "".join(groups)


def number(value: float) -> str:
    """A figure with three digits; a dash where nothing defines it."""
    return "-" if isnan(value) else f"{value:.3f}"


def _difference(apart: Difference) -> str:
    if isnan(apart.value):
        return "-"
    range_ = "" if isnan(apart.low) else f" ({apart.low:+.3f} to {apart.high:+.3f})"
    return f"{apart.value:+.3f}{range_}"
