"""Masks as CVAT's server reads them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sam3_engine.rle import from_rle
from sam3_engine.types import Instance
from serve_app.http.tools.outlines import outlines


def interaction(instance: Instance) -> dict[str, Any]:
    """The answer of an interactor (version 2): a mask (in the format `rle`) of the whole image."""
    mask = from_rle(instance.masks)
    # Decoded column by column; the JSON writer reads rows.
    return {"points": _largest(mask).tolist(), "mask": np.ascontiguousarray(mask, dtype=np.uint8)}


def detected(label: str, instance: Instance) -> dict[str, Any]:
    """An instance in the answer of a detector: the mask's box alone."""
    left, top, right, bottom = (int(side) for side in instance.box)  # right and bottom are exclusive
    mask = from_rle(instance.masks)
    crop = mask[top:bottom, left:right].astype(np.uint8).ravel()
    box = np.array([left, top, right - 1, bottom - 1])
    return {
        "label": label,
        "type": "mask",
        "confidence": f"{instance.score:.4f}",
        "points": _polygon(mask, instance).ravel().tolist(),
        "mask": np.concatenate([crop.astype(np.int32), box.astype(np.int32)]),
        "attributes": [],
    }


def followed(kind: str, box: Sequence[float], mask: Callable[[], npt.NDArray[np.bool_]]) -> list[float]:
    """The points of a shape that was followed: x, y, x, y, ... box: x0, y0, x1, y1. mask: asked for a polygon alone,
    which is the outline of the largest part."""
    if kind != "polygon":
        return list(box)
    outline = _largest(mask())
    return (outline if len(outline) else _corners(box)).ravel().tolist()


def _largest(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """[N, 2], the outline of the largest part; [0, 2] for a mask that has no area."""
    found = outlines(mask)
    return found[0] if found else np.zeros((0, 2))


def _polygon(mask: npt.NDArray[np.bool_], instance: Instance) -> npt.NDArray[np.float64]:
    """CVAT refuses polygons of fewer than three points: a mask without area gets its box."""
    found = _largest(mask)
    if len(found):
        return found
    return _corners(instance.box)


def _corners(box: Sequence[float]) -> npt.NDArray[np.float64]:
    """[4, 2], clockwise from the top left."""
    left, top, right, bottom = box
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], dtype=np.float64)
