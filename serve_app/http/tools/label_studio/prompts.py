"""What an annotator drew with smart tools, as prompts for the model.

All clicks, and the last rectangle beside them, are one object. Rectangles without clicks are an object each. A text, or
a label alone, is a concept.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sam3_engine.types import ConceptPrompt, ImageSize, Point, VisualPrompt
from serve_app.http.errors import InvalidRequest
from serve_app.http.schemas import MAX_TEXT_CHARACTERS
from serve_app.http.tools.label_studio.schemas import LabelStudioDrawn

CLICK, RECTANGLE, TEXT = "keypoint", "rectangle", "textarea"
"""How the types of regions begin: `keypoint` and `keypointlabels`."""


@dataclass(frozen=True, slots=True)
class Prompts:
    """The prompts of one request: either objects or a phrase. label, image: those that were drawn with. size: of the
    image, as Label Studio's browser sees it."""

    objects: Sequence[VisualPrompt] = ()
    phrase: str | None = None
    label: str | None = None
    image: str | None = None
    size: ImageSize | None = None


def prompts_of(drawn: Sequence[LabelStudioDrawn]) -> Prompts:
    """The prompts. Raises InvalidRequest for a context that asks for nothing."""
    label = next((one.label for one in reversed(drawn) if one.label), None)
    image = next((one.to_name for one in drawn if one.to_name), None)
    clicks = [one for one in drawn if one.type.startswith(CLICK)]
    rectangles = [one for one in drawn if one.type.startswith(RECTANGLE)]
    if clicks or rectangles:
        size = _size((clicks + rectangles)[0])
        points = tuple(Point(*_point(one, size), one.is_positive is not False) for one in clicks)
        boxes = [_box(one, size) for one in rectangles]
        objects = (
            [VisualPrompt(points, boxes[-1] if boxes else None)]
            if points
            else [VisualPrompt(box=box) for box in boxes]
        )
        return Prompts(objects, None, label, image, size)
    phrase = next((text for one in reversed(drawn) if one.type == TEXT and (text := _text(one))), None)
    if phrase is None and label is None:
        raise InvalidRequest.one(
            "it holds no click, rectangle, text or label that the model could be asked for",
            "params",
            "context",
            "result",
        )
    return Prompts((), phrase, label, image)


def concept(phrase: str, threshold: float) -> ConceptPrompt:
    """A concept by its phrase."""
    return ConceptPrompt(phrase, score_threshold=threshold)


def _size(drawn: LabelStudioDrawn) -> ImageSize:
    if drawn.original_width is None or drawn.original_height is None:
        raise InvalidRequest.one(
            "a region lacks original_width or original_height", "params", "context", "result"
        )
    return ImageSize(drawn.original_height, drawn.original_width)


def _point(drawn: LabelStudioDrawn, size: ImageSize) -> tuple[float, float]:
    value = drawn.value
    if value.x is None or value.y is None:
        raise InvalidRequest.one("a region lacks x or y", "params", "context", "result")
    return value.x * size.width / 100, value.y * size.height / 100


def _box(drawn: LabelStudioDrawn, size: ImageSize) -> tuple[float, float, float, float]:
    x, y = _point(drawn, size)
    width = (drawn.value.width or 0) * size.width / 100
    height = (drawn.value.height or 0) * size.height / 100
    return (min(x, x + width), min(y, y + height), max(x, x + width), max(y, y + height))


def _text(drawn: LabelStudioDrawn) -> str | None:
    text = drawn.value.text
    words = " ".join(text) if isinstance(text, list) else text or ""
    return words.strip()[:MAX_TEXT_CHARACTERS] or None
