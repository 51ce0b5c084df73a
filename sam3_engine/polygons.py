"""Masks as polygons in the original's pixels (OpenCV's border following, Suzuki and Abe 1985).

A polygon runs through the centres of its border pixels, given by their integer coordinates: a mask of one pixel
has one point, a line has two. `cv2.fillPoly`, which fills a polygon and draws its outline, gives the mask back.
"""

from collections.abc import Sequence
from typing import Any, TypedDict

import cv2
import numpy as np
import numpy.typing as npt

from sam3_engine.regions import RegionMask

Polygon = list[list[int]]


class PolygonWithHoles(TypedDict):
    """One connected part of a mask: its outer border and the borders of its holes.

    A hole's polygon runs through the mask's own pixels around the hole.
    """

    outer: Polygon
    holes: list[Polygon]


def to_polygons(mask: RegionMask, *, arrays: bool = False) -> list[Polygon]:
    """The outer border of each connected part; holes are lost. Equal to cv2.findContours on the full mask.

    arrays: each polygon as int32 [N, 2], not as a list; a JSON writer that reads arrays then meets fewer objects.
    """
    contours, _ = _find(mask, cv2.RETR_EXTERNAL)
    return [_points(contour, arrays) for contour in contours]


def to_polygons_with_holes(mask: RegionMask, *, arrays: bool = False) -> list[PolygonWithHoles]:
    """The outer border of each connected part, and the borders of its holes. A part inside a hole counts as
    another part. arrays: as in `to_polygons`."""
    contours, hierarchy = _find(mask, cv2.RETR_CCOMP)
    parts: list[PolygonWithHoles] = []
    part_of: dict[int, PolygonWithHoles] = {}
    for index, contour in enumerate(contours):
        if hierarchy[index][3] < 0:
            part_of[index] = PolygonWithHoles(outer=_points(contour, arrays), holes=[])
            parts.append(part_of[index])
    for index, contour in enumerate(contours):
        parent = int(hierarchy[index][3])
        if parent >= 0:
            part_of[parent]["holes"].append(_points(contour, arrays))
    return parts


def _find(mask: RegionMask, mode: int) -> tuple[Sequence[npt.NDArray[Any]], npt.NDArray[Any]]:
    """Contours and their hierarchy rows (next, previous, first child, parent)."""
    if mask.crop.size == 0:
        return [], np.zeros((0, 4), dtype=np.int32)
    contours, hierarchy = cv2.findContours(
        mask.crop.view(np.uint8), mode, cv2.CHAIN_APPROX_SIMPLE, offset=(mask.x0, mask.y0)
    )
    return contours, hierarchy[0]


def _points(contour: npt.NDArray[Any], arrays: bool) -> Any:
    points = contour.reshape(-1, 2)
    return points if arrays else points.tolist()
