"""Labelled images as the pipeline of `sam3-serve label` makes them, without a model."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sam3_engine.regions import RegionMask
from sam3_engine.rle import to_rle
from serve_app.label.rows import LABELLED


def found(name: str, mask: npt.NDArray[np.bool_], score: float = 0.9) -> dict[str, Any]:
    """An object of a class."""
    region = RegionMask.from_full(mask)
    return {
        "class": name,
        "score": score,
        "box": region.box,
        "area": region.area,
        "rle": to_rle(region)["counts"],
    }


def row(
    location: str,
    objects: Sequence[dict[str, Any]] = (),
    *,
    name: str | None = None,
    size: tuple[int, int] = (8, 10),
    error: str | None = None,
    model: str = "weights-1",
) -> dict[str, Any]:
    """An image, or one that could not be read. size: (height, width)."""
    named = {"location": location, "name": name or location.rpartition("/")[2], "model": model}
    if error is not None:
        return {**named, "error": error}
    read = {"height": size[0], "width": size[1], "digest": "d", "look": 0, "model_s": 0.125}
    return {**named, **read, "objects": list(objects)}


def table(*rows: dict[str, Any]) -> pa.Table:
    """A part of a data set."""
    return pa.Table.from_pylist(list(rows), schema=LABELLED)


def shapes(size: tuple[int, int] = (60, 80)) -> dict[str, npt.NDArray[np.bool_]]:
    """Masks that formats find difficult: with a hole, of two parts, of one pixel, at the image's last pixel."""
    names = ("hole", "parts", "pixel", "corner", "whole")
    masks: dict[str, npt.NDArray[np.bool_]] = {name: np.zeros(size, dtype=np.bool_) for name in names}
    masks["hole"][5:30, 5:40] = True
    masks["hole"][12:20, 15:25] = False
    masks["parts"][35:50, 5:20] = True
    masks["parts"][40:55, 50:70] = True
    masks["pixel"][3, 70] = True
    masks["corner"][50:, 70:] = True
    masks["whole"][:] = True
    return masks
