"""Masks as shapes of X-AnyLabeling, and the phrases of its texts."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from sam3_engine.rle import from_rle
from sam3_engine.types import Instance
from serve_app.http.tools.outlines import FINENESS, outlines
from serve_app.http.tools.x_anylabeling.schemas import XAnyLabelingParams

UNNAMED = "AUTOLABEL_OBJECT"
"""The label of shapes that the program asks its user to name."""


def phrases_in(text: str) -> list[str]:
    """The phrases of a text, each once, in their order."""
    return list(dict.fromkeys(part.strip() for part in re.split(r"[,.]", text) if part.strip()))


def shapes_of(found: Iterable[tuple[str, Instance]], params: XAnyLabelingParams) -> list[dict[str, Any]]:
    """The shapes of masks (in the format `rle`) with their labels."""
    return [
        {"label": label, "score": instance.score, **shape}
        for number, (label, instance) in enumerate(found, 1)
        if instance.area
        for shape in _shapes(instance, params, None, number)
    ]


def shapes_of_frame(frame: dict[str, Any], first_id: int, params: XAnyLabelingParams) -> list[dict[str, Any]]:
    """The shapes of a video's frame, as `.../frames` answers it with the format `rle`. The shapes of an object are a
    group in all frames; first_id: of the object whose group is 1."""
    return [
        {"label": one["label"] or UNNAMED, "score": one["confidence"], **shape}
        for one in frame["objects"]
        for shape in _shapes(_instance(one), params, *[one["id"] - first_id + 1] * 2)
    ]


def _instance(found: dict[str, Any]) -> Instance:
    box = found["box"]
    sides = (box["x0"], box["y0"], box["x1"], box["y1"])
    return Instance(found["confidence"], sides, found["area"], found["masks"])


def _shapes(
    instance: Instance, params: XAnyLabelingParams, group: int | None, group_of_parts: int
) -> Iterator[dict[str, Any]]:
    """group: of a single shape. group_of_parts: of a mask's parts, where it has several."""
    if params.show_masks is not False:
        fineness = FINENESS if params.epsilon_factor is None else params.epsilon_factor
        parts = [outline.tolist() for outline in outlines(from_rle(instance.masks), fineness)]
        together = group_of_parts if len(parts) > 1 else group
        for part in parts:
            yield {"shape_type": "polygon", "points": [*part, part[0]], "group_id": together}
    if params.show_boxes:
        x0, y0, x1, y1 = instance.box
        corners = [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]
        yield {"shape_type": "rectangle", "points": corners, "group_id": group}
