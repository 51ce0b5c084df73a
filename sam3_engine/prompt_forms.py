"""Converts prompts as the documented Python SDK writes them into the engine's own. Needs no torch.

Coordinates are pixels of the upright original. Mind the boxes, which follow Roboflow's API: x, y is the top-left
corner of a concept prompt's box, and the centre of a visual prompt's box.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sam3_engine.types import Box, ConceptPrompt, Point, VisualPrompt


@dataclass(frozen=True, slots=True)
class Sam3Prompt:
    """A concept prompt: a text, example boxes, or both. `type` has no effect: the other fields decide.

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
        """The prompt itself, or one made from a dict of its fields. Raises TypeError for unknown fields."""
        return prompt if isinstance(prompt, Sam3Prompt) else cls(**prompt)

    def concept(self, output_prob_thresh: float) -> ConceptPrompt:
        """The engine's form of this prompt. Raises ValueError without text and boxes, or when the numbers of labels
        and boxes differ."""
        boxes = tuple(corner_box(box) for box in self.boxes or ())
        labels = tuple(bool(label) for label in self.box_labels) if self.box_labels else (True,) * len(boxes)
        own = self.output_prob_thresh
        threshold = output_prob_thresh if own is None else own
        return ConceptPrompt((self.text or "").strip() or None, boxes, labels, threshold)


def corner_box(box: Mapping[str, float]) -> Box:
    """(x0, y0, x1, y1) of a concept prompt's box. Raises ValueError when fields are missing."""
    if {"x0", "y0", "x1", "y1"} <= box.keys():
        x0, x1 = sorted((float(box["x0"]), float(box["x1"])))
        y0, y1 = sorted((float(box["y0"]), float(box["y1"])))
        return x0, y0, x1, y1
    x, y, width, height = _sides(box, "x0, y0, x1, y1, or x, y, width, height")
    return x, y, x + width, y + height


def centre_box(box: Mapping[str, float]) -> Box:
    """(x0, y0, x1, y1) of a visual prompt's box, whose x, y is its centre. Raises ValueError when fields are
    missing."""
    x, y, width, height = _sides(box, "x, y (its centre), width, height")
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _sides(box: Mapping[str, float], expected: str) -> tuple[float, float, float, float]:
    if not {"x", "y", "width", "height"} <= box.keys():
        raise ValueError(f"a box needs {expected}; this one has {', '.join(box) or 'nothing'}")
    return float(box["x"]), float(box["y"]), float(box["width"]), float(box["height"])


VisualForm = VisualPrompt | Mapping[str, Any]


def visual_prompts(
    prompts: VisualForm | Sequence[VisualForm] | None, mask_input: npt.ArrayLike | None = None
) -> list[VisualPrompt]:
    """The visual prompts of a call, in order. A call without prompts gives one prompt without points and box.

    prompts: {"prompts": [...]}, a list, one prompt, or None. A prompt: {"points": [{"x", "y", "positive"}],
    "box": {"x", "y", "width", "height"}}; either may be left out. mask_input: low-resolution logits of an
    earlier answer to refine, one per prompt: [N, h, w], [N, 1, h, w] or, for one prompt, [h, w]. Raises
    ValueError for prompts or logits of another form.
    """
    parsed = [_visual(one) for one in _as_list(prompts)] or [VisualPrompt()]
    if mask_input is None:
        return parsed
    logits = np.asarray(mask_input, dtype=np.float32)
    if logits.ndim < 2 or logits.size != len(parsed) * logits.shape[-2] * logits.shape[-1]:
        raise ValueError(
            f"expected mask_input with one [h, w] for each of {len(parsed)} prompts, got {logits.shape}"
        )
    previous = logits.reshape(len(parsed), *logits.shape[-2:])
    return [
        VisualPrompt(prompt.points, prompt.box, one) for prompt, one in zip(parsed, previous, strict=True)
    ]


def _as_list(prompts: VisualForm | Sequence[VisualForm] | None) -> Sequence[VisualForm]:
    if prompts is None:
        return []
    if isinstance(prompts, VisualPrompt):
        return [prompts]
    if isinstance(prompts, Mapping):
        return _as_list(prompts["prompts"]) if "prompts" in prompts else [prompts]
    return prompts


def _visual(prompt: VisualForm) -> VisualPrompt:
    if isinstance(prompt, VisualPrompt):
        return prompt
    if not isinstance(prompt, Mapping):
        raise ValueError(f"expected a prompt with points and/or a box, got {prompt!r}")
    points = tuple(
        Point(float(point["x"]), float(point["y"]), bool(point.get("positive", True)))
        for point in prompt.get("points") or ()
    )
    box = prompt.get("box")
    return VisualPrompt(points, centre_box(box) if box else None)
