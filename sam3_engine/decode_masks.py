"""Decodes an answer's masks to pixels, so that a client can draw or measure them. Needs no torch."""

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

    Raises ValueError for an unknown format, and for a mask whose size is not `size`.
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
    """Fill each part by the even-odd rule: the pixels within an odd number of its borders, and the borders
    themselves."""
    canvas = np.zeros(size, dtype=np.uint8)
    for borders in parts:
        filled = [np.array(border, dtype=np.int32).reshape(-1, 2) for border in borders if border]
        if filled:
            cv2.fillPoly(canvas, filled, 1)
    return RegionMask.from_full(canvas.view(np.bool_))
