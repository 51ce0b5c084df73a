"""Masks as polygons in the original's pixels (OpenCV's border following, Suzuki and Abe 1985).

A polygon runs through the centres of its border pixels, given by their integer coordinates. `cv2.fillPoly`, which
fills a polygon and draws its outline, gives the mask back. Every polygon has at least three points, fewer of which
COCO's tools refuse: a part of one pixel repeats its point, a straight line of pixels its first point. Such a polygon
encloses no area. The polygon that encloses the largest area comes first.
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
    """The outer border of each connected part, largest first; holes are lost.

    arrays: each polygon as int32 [N, 2], not as a list; a JSON writer that reads arrays then meets fewer objects.
    """
    contours, _ = _find(mask, cv2.RETR_EXTERNAL)
    return [_points(contours[index], arrays) for index in _largest_first(contours)]


def to_polygons_with_holes(mask: RegionMask, *, arrays: bool = False) -> list[PolygonWithHoles]:
    """The outer border of each connected part, and the borders of its holes, both largest first. A part inside a
    hole counts as another part. arrays: as in `to_polygons`."""
    contours, hierarchy = _find(mask, cv2.RETR_CCOMP)
    parts: list[PolygonWithHoles] = []
    part_of: dict[int, PolygonWithHoles] = {}
    order = _largest_first(contours)
    for index in order:
        if hierarchy[index][3] < 0:
            part_of[index] = PolygonWithHoles(outer=_points(contours[index], arrays), holes=[])
            parts.append(part_of[index])
    for index in order:
        parent = int(hierarchy[index][3])
        if parent >= 0:
            part_of[parent]["holes"].append(_points(contours[index], arrays))
    return parts


def _largest_first(contours: Sequence[npt.NDArray[Any]]) -> list[int]:
    """Indices of the contours by the area that they enclose; equal areas stay in OpenCV's order."""
    return sorted(range(len(contours)), key=lambda index: -cv2.contourArea(contours[index]))


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
    if len(points) < 3:
        points = np.concatenate([points, points[:1].repeat(3 - len(points), axis=0)])
    return points if arrays else points.tolist()
