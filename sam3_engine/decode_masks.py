"""The way back from an answer's masks to pixels, for whoever draws or measures them. Free of torch."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from sam3_engine.polygons import Polygon
from sam3_engine.regions import RegionMask
from sam3_engine.rle import from_rle
from sam3_engine.types import ImageSize, MaskFormat


def decode_masks(masks: Any, mask_format: MaskFormat, size: ImageSize) -> RegionMask:
    """The mask that `encode_masks.encode` turned into `masks`; holes are lost in the plain format "polygon".

    Raises ValueError for a format that there is not, and for masks of another size.
    """
    match mask_format:
        case "polygon":
            return _fill([[polygon] for polygon in masks], size)
        case "polygon_holes":
            return _fill([[part["outer"], *part["holes"]] for part in masks], size)
        case "rle":
            mask = from_rle(masks)
        case "binary":
            mask = np.asarray(masks, dtype=np.bool_)
        case _:
            raise ValueError(f"unknown mask format {mask_format!r}")
    if mask.shape != tuple(size):
        raise ValueError(
            f"the mask is {mask.shape[0]} x {mask.shape[1]}, the image {size.height} x {size.width}"
        )
    return RegionMask.from_full(mask)


def _fill(parts: Sequence[Sequence[Polygon]], size: ImageSize) -> RegionMask:
    """Fill each part, its borders by the even-odd rule: what lies within an odd number of them, and the
    borders."""
    canvas = np.zeros(size, dtype=np.uint8)
    for borders in parts:
        filled = [np.array(border, dtype=np.int32).reshape(-1, 2) for border in borders if border]
        if filled:
            cv2.fillPoly(canvas, filled, 1)
    return RegionMask.from_full(canvas.view(np.bool_))
