"""Masks as shapes of X-AnyLabeling."""

from collections.abc import Iterable, Iterator
from typing import Any

from sam3_engine.rle import from_rle
from sam3_engine.types import Instance
from serve_app.http.tools.outlines import FINENESS, outlines
from serve_app.http.tools.x_anylabeling.schemas import XAnyLabelingParams

UNNAMED = "AUTOLABEL_OBJECT"
"""The label of shapes that the program asks its user to name."""


def shapes_of(found: Iterable[tuple[str, Instance]], params: XAnyLabelingParams) -> list[dict[str, Any]]:
    """The shapes of masks (in the format `rle`) with their labels."""
    return [
        {"label": label, "score": instance.score, **shape}
        for number, (label, instance) in enumerate(found, 1)
        if instance.area
        for shape in _shapes(instance, number, params)
    ]


def _shapes(instance: Instance, number: int, params: XAnyLabelingParams) -> Iterator[dict[str, Any]]:
    if params.show_masks is not False:
        fineness = FINENESS if params.epsilon_factor is None else params.epsilon_factor
        parts = [outline.tolist() for outline in outlines(from_rle(instance.masks), fineness)]
        group = number if len(parts) > 1 else None
        for part in parts:
            yield {"shape_type": "polygon", "points": [*part, part[0]], "group_id": group}
    if params.show_boxes:
        x0, y0, x1, y1 = instance.box
        corners = [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]
        yield {"shape_type": "rectangle", "points": corners, "group_id": None}
