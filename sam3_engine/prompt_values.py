"""The values that prompts are made of, and their bounds. The SDK, the command line, HTTP and Workflows share them.

Every function raises ValueError, whose message names the allowed values.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from numbers import Integral, Real
from typing import Any

from sam3_engine.types import ConceptPrompt, ImageSize, VisualPrompt

COORDINATE_LIMIT = 1e9
"""Largest absolute coordinate, in pixels: far outside every image, and precise enough in float32."""
ROUNDING = 1.0
"""Pixels by which a point may miss the image: clients round, and scale."""


def number(value: Any, name: str) -> float:
    """A finite number within COORDINATE_LIMIT, numpy's and torch's scalars included."""
    value = _scalar(value)
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ValueError(f"{name} is a number, not {shown(value)}")
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise ValueError(f"{name} is a finite number, not {shown(value)}")
    if abs(found) > COORDINATE_LIMIT:
        raise ValueError(f"{name} = {found:g} is far outside every image")
    return found


def share(value: Any, name: str) -> float:
    """A number between 0 and 1."""
    if not 0 <= number(value, name) <= 1:
        raise ValueError(f"{name} lies between 0 and 1, not at {value}")
    return float(value)


def label(value: Any, name: str = "a label") -> bool:
    """True for 1 and True, False for 0 and False: any other value would be a guess."""
    value = _scalar(value)
    if not isinstance(value, Real) or value not in (0, 1):
        raise ValueError(f"{name} is 1, 0, True or False, not {shown(value)}")
    return bool(value)


def whole(value: Any, name: str, least: int) -> int:
    """A whole number from `least` on, numpy's included."""
    value = _scalar(value)
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name} is a whole number of at least {least}, not {shown(value)}")
    return int(value)


def utf8(text: str, name: str) -> str:
    """A text that UTF-8 can hold. Python keeps bytes of the command line that are not UTF-8 as lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{name} is not valid UTF-8: its character {error.start + 1} is {shown(text[error.start])}"
        ) from None
    return text


def shown(value: object) -> str:
    """A wrong value as a message names it: in one short line."""
    try:
        text = " ".join(repr(value).split())
    except RecursionError:
        text = f"a {type(value).__name__} that is nested too deep"
    return text if len(text) <= 60 else f"{text[:57]}..."


def check_content(kind: str | None, text: str | None, boxes: int, labels: int | None) -> None:
    """Check that a concept prompt holds something, and one label for each box. labels: their number; None without."""
    if kind == "visual" and not boxes:
        raise ValueError("a visual prompt needs at least one box")
    if not boxes and text is None:
        raise ValueError("a concept prompt needs a text or at least one box")
    if labels and labels != boxes:
        raise ValueError(f"box_labels needs one label per box: {labels} for {boxes}")


CORNERS = ("x0", "y0", "x1", "y1")
SIDES = ("x", "y", "width", "height")


def check_one_form(box: Collection[str]) -> None:
    """Check that the keys of a concept prompt's box are of one of its two forms: CORNERS or SIDES."""
    corners = [name for name in CORNERS if name in box]
    sides = [name for name in SIDES if name in box]
    if corners and sides:
        raise ValueError(
            f"a box is given by {', '.join(SIDES)} or by {', '.join(CORNERS)}, not by both: "
            f"this one has {', '.join(sides + corners)}"
        )


def check_inside(prompts: Sequence[ConceptPrompt | VisualPrompt], size: ImageSize) -> None:
    """Check that every point lies in the image, and that every box has a part in it.

    The model would answer for any place, with a high confidence for nothing.
    """
    for name, place in _places(prompts):
        if len(place) == 2:
            inside = all(
                -ROUNDING <= at <= most + ROUNDING for at, most in zip(place, reversed(size), strict=True)
            )
        else:
            x0, y0, x1, y1 = place
            # A box without width or height lies where its corner does, at the upper left edge too.
            inside = x0 < size.width and y0 < size.height and (x1 > 0 or x0 >= 0) and (y1 > 0 or y0 >= 0)
        if not inside:
            raise ValueError(f"{name} lies outside the image, which has {size.width} x {size.height} pixels")


def _places(prompts: Sequence[ConceptPrompt | VisualPrompt]) -> Iterator[tuple[str, Sequence[float]]]:
    for prompt in prompts:
        if isinstance(prompt, ConceptPrompt):
            boxes: Sequence[Sequence[float]] = prompt.boxes
        else:
            boxes = (prompt.box,) if prompt.box else ()
            for x, y, _ in prompt.points:
                yield f"the point ({x:g}, {y:g})", (x, y)
        for box in boxes:
            yield f"the box from ({box[0]:g}, {box[1]:g}) to ({box[2]:g}, {box[3]:g})", box


def _scalar(value: Any) -> Any:
    """Python's own scalar of numpy's, of torch's, and of arrays with one element and no dimension."""
    return value.item() if hasattr(value, "item") and getattr(value, "shape", None) == () else value
