"""Converts prompts as the documented Python SDK writes them into the engine's own. Needs no torch.

Coordinates are pixels of the upright original. Mind the boxes, which follow Roboflow's API: x, y is the top-left
corner of a concept prompt's box, and the centre of a visual prompt's box.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from sam3_engine.earlier_logits import logits_of_one, logits_of_prompts
from sam3_engine.prompt_values import (
    CORNERS,
    SIDES,
    check_content,
    check_one_form,
    label,
    number,
    share,
    shown,
    utf8,
)
from sam3_engine.types import Box, ConceptPrompt, Point, VisualPrompt


@dataclass(frozen=True, slots=True)
class Sam3Prompt:
    """A concept prompt: a text, example boxes, or both. `type` is a hint: the other fields decide.

    boxes: {"x", "y", "width", "height"} with x, y the top-left corner, or {"x0", "y0", "x1", "y1"}.
    box_labels: 1 or True for "like this", 0 or False for "unlike this"; left out, all are like this.
    output_prob_thresh replaces the call's.
    """

    type: str | None = None
    text: str | None = None
    boxes: Sequence[Mapping[str, float]] | None = None
    box_labels: Sequence[int | bool] | None = None
    output_prob_thresh: float | None = None

    @classmethod
    def of(cls, prompt: "Sam3Prompt | Mapping[str, Any]") -> "Sam3Prompt":
        """The prompt itself, or one made from a dict of its fields. Raises ValueError for anything else."""
        if isinstance(prompt, Sam3Prompt):
            return prompt
        known = [field.name for field in fields(cls)]
        return cls(**_fields(prompt, known, "a concept prompt"))

    def concept(self, output_prob_thresh: float) -> ConceptPrompt:
        """The engine's form of this prompt. Raises ValueError for values that mean nothing, without text and boxes,
        and when the numbers of labels and boxes differ."""
        if self.text is not None and not isinstance(self.text, str):
            raise ValueError(f"a text is a string, not {shown(self.text)}")
        text = utf8(self.text or "", "a text").strip() or None
        boxes = tuple(corner_box(box) for box in _list(self.boxes, "boxes"))
        given = _list(self.box_labels, "box_labels")
        labels = tuple(label(one, "a label in box_labels") for one in given)
        check_content(self.type, text, len(boxes), len(labels))
        own = self.output_prob_thresh
        threshold = share(output_prob_thresh if own is None else own, "output_prob_thresh")
        return ConceptPrompt(text, boxes, labels or (True,) * len(boxes), threshold)


ConceptForm = Sam3Prompt | Mapping[str, Any]


def concept_prompts(
    prompts: ConceptForm | Sequence[ConceptForm], output_prob_thresh: float
) -> list[ConceptPrompt]:
    """The concept prompts of a call, in order: a list of them, or one. Raises ValueError without any, and as
    `Sam3Prompt.concept`."""
    several = [prompts] if isinstance(prompts, Sam3Prompt | Mapping) else _list(prompts, "prompts")
    asked = [Sam3Prompt.of(one) for one in several]
    if not asked:
        raise ValueError("at least one prompt is needed")
    return [prompt.concept(output_prob_thresh) for prompt in asked]


def corner_box(box: object) -> Box:
    """(x0, y0, x1, y1) of a concept prompt's box. Raises ValueError for anything else."""
    expected = '{"x", "y", "width", "height"} with x, y its top-left corner, or {"x0", "y0", "x1", "y1"}'
    if isinstance(box, Mapping):
        check_one_form(box.keys())
        if "x0" in box:
            x0, y0, x1, y1 = _numbers(box, CORNERS, expected)
            return min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)
    x, y, width, height = _numbers(box, SIDES, expected)
    return x, y, x + width, y + height


def centre_box(box: object) -> Box:
    """(x0, y0, x1, y1) of a visual prompt's box, whose x, y is its centre. Raises ValueError for anything else."""
    expected = '{"x", "y", "width", "height"} with x, y its centre'
    x, y, width, height = _numbers(box, SIDES, expected)
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _numbers(box: object, names: Collection[str], expected: str) -> list[float]:
    if not isinstance(box, Mapping) or not set(names) <= box.keys():
        raise ValueError(f"a box is {expected}, not {shown(box)}")
    found = [number(box[name], f"a box's {name}") for name in names]
    if "width" in names and min(found[2:]) < 0:
        raise ValueError(f"a box's width and height are not below 0: {shown(box)}")
    return found


VisualForm = VisualPrompt | Mapping[str, Any]


def visual_prompts(
    prompts: VisualForm | Sequence[VisualForm] | None,
    mask_input: npt.ArrayLike | None = None,
    side: int | None = None,
) -> list[VisualPrompt]:
    """The visual prompts of a call, in order. A call without prompts gives one prompt without points and box.

    prompts: {"prompts": [...]}, a list, one prompt, or None. A prompt: a VisualPrompt, or {"points": [{"x", "y",
    "positive"}], "box": {"x", "y", "width", "height"}}; either may be left out. mask_input: low-resolution logits of an
    earlier answer to refine, one per prompt: [N, h, w], [N, 1, h, w] or, for one prompt, [h, w]. side: the model's h
    and w. Raises ValueError for prompts or logits of another form.
    """
    parsed = [_visual(one, side) for one in _as_list(prompts)] or [VisualPrompt()]
    if mask_input is None:
        return parsed
    previous = logits_of_prompts(mask_input, len(parsed), side)
    return [
        VisualPrompt(prompt.points, prompt.box, one) for prompt, one in zip(parsed, previous, strict=True)
    ]


def _as_list(prompts: VisualForm | Sequence[VisualForm] | None) -> Sequence[VisualForm]:
    if isinstance(prompts, Mapping) and "prompts" in prompts:
        prompts = _fields(prompts, ("prompts",), "a set of prompts")["prompts"]
    if isinstance(prompts, VisualPrompt | Mapping):
        return [prompts]
    return _list(prompts, "prompts")


def _visual(prompt: VisualForm, side: int | None) -> VisualPrompt:
    if isinstance(prompt, VisualPrompt):
        return _checked(prompt, side)
    given = _fields(prompt, ("points", "box"), "a prompt")
    points = tuple(_point(point) for point in _list(given.get("points"), "points"))
    box = given.get("box")
    return VisualPrompt(points, None if box is None else centre_box(box))


def _checked(prompt: VisualPrompt, side: int | None) -> VisualPrompt:
    """The prompt with values of its types: a caller may have made it of any."""
    points = []
    for point in _list(prompt.points, "points"):
        if not isinstance(point, Point):
            raise ValueError(f"a point of a VisualPrompt is a Point(x, y, positive), not {shown(point)}")
        points.append(_point(point._asdict()))
    box = None if prompt.box is None else _corners(prompt.box)
    logits = None if prompt.previous_logits is None else logits_of_one(prompt.previous_logits, side)
    return VisualPrompt(tuple(points), box, logits)


def _corners(box: Any) -> Box:
    expected = "a VisualPrompt's box is (x0, y0, x1, y1)"
    if not isinstance(box, tuple | list | np.ndarray) or len(box) != 4:
        raise ValueError(f"{expected}, not {shown(box)}")
    x0, y0, x1, y1 = (number(value, f"a box's {name}") for name, value in zip(CORNERS, box, strict=True))
    if x0 > x1 or y0 > y1:
        raise ValueError(f"{expected} with the top-left corner first, not {shown(box)}")
    return x0, y0, x1, y1


def _point(point: Mapping[str, Any]) -> Point:
    given = _fields(point, ("x", "y", "positive"), "a point")
    if not {"x", "y"} <= given.keys():
        raise ValueError(f'a point is {{"x", "y", "positive"}}, not {shown(point)}')
    x, y = (number(given[name], f"a point's {name}") for name in ("x", "y"))
    return Point(x, y, label(given.get("positive", True), "a point's positive"))


def _fields(given: Any, known: Collection[str], what: str) -> Mapping[str, Any]:
    """A dict with no other keys: an unknown one is a mistyped one, which would have no effect."""
    expected = "{" + ", ".join(f'"{name}"' for name in known) + "}"
    if not isinstance(given, Mapping):
        raise ValueError(f"{what} is {expected}, not {shown(given)}")
    unknown = [name for name in given if name not in known]
    if unknown:
        raise ValueError(f"{what} is {expected}; it has no {shown(unknown[0])}")
    return given


def _list(given: Any, name: str) -> Sequence[Any]:
    if given is None:
        return ()
    if isinstance(given, str | bytes | Mapping) or not hasattr(given, "__iter__"):
        raise ValueError(f"{name} is a list, not {shown(given)}")
    return list(given)
