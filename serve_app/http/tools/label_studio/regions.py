"""Masks as regions of a task, in percent of the image or as a brush's run lengths."""

import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from sam3_engine.rle import from_rle
from sam3_engine.types import ImageSize, Instance
from serve_app.http.tools.label_studio.brush import brush_rle
from serve_app.http.tools.label_studio.config import Control
from serve_app.http.tools.outlines import outlines

Found = tuple[Control, str, Instance]
"""A mask (in the format `rle`), with the tool and the label that its region gets."""


def regions_of(found: Iterable[Found], size: ImageSize) -> list[dict[str, Any]]:
    """The regions of a task's result. A mask without pixels has none; one of several parts is a polygon for each."""
    return [
        {
            "id": uuid.uuid4().hex[:10],
            "from_name": control.name,
            "to_name": control.to_name,
            "type": control.kind,
            "original_width": size.width,
            "original_height": size.height,
            "image_rotation": 0,
            "value": {**value, control.kind: [label]},
            "score": instance.score,
        }
        for control, label, instance in found
        if instance.area
        for value in _values(control, instance, size)
    ]


def score_of(regions: list[dict[str, Any]]) -> float:
    """The mean score of a task's regions, 0 without any: Label Studio sorts tasks by it."""
    return sum(region["score"] for region in regions) / len(regions) if regions else 0.0


def _values(control: Control, instance: Instance, size: ImageSize) -> Iterator[dict[str, Any]]:
    across, down = 100 / size.width, 100 / size.height
    if control.kind == "rectanglelabels":
        x0, y0, x1, y1 = instance.box
        yield {
            "x": x0 * across,
            "y": y0 * down,
            "width": (x1 - x0) * across,
            "height": (y1 - y0) * down,
            "rotation": 0,
        }
        return
    mask = from_rle(instance.masks)
    if control.kind == "brushlabels":
        yield {"format": "rle", "rle": brush_rle(mask)}
        return
    for outline in outlines(mask):
        yield {"points": (outline * (across, down)).tolist(), "closed": True}
