"""Outlines of masks for people and tools that want polygons: along the edges of the pixels, with few corners.

`sam3_engine.polygons` runs through the centres of the border's pixels, as `cv2.fillPoly` wants it. Other tools take a
polygon for the border itself, and would find a smaller object.
"""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from sam3_engine.regions import RegionMask

DEVIATION = 0.75
"""Most pixels between the outline and the steps of the pixels' edges: a diagonal's steps become a straight line."""
FEW = 8
"""So few corners, of a small object or a rectangle, stay as they are."""


def outlines(mask: RegionMask) -> list[list[list[float]]]:
    """The outer border of each connected part, [[x, y], ...] in pixels, at least three corners; holes are left out."""
    if not mask.area:
        return []
    # A border through the centres of quarters of pixels lies within a quarter of a pixel of the pixels' edges.
    quarters = mask.crop.repeat(2, axis=0).repeat(2, axis=1).view(np.uint8)
    contours, _ = cv2.findContours(quarters, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return [((_simpler(contour) + 0.5) / 2 + [mask.x0, mask.y0]).tolist() for contour in contours]


def _simpler(contour: npt.NDArray[Any]) -> npt.NDArray[Any]:
    if len(contour) > FEW:
        found = cv2.approxPolyDP(contour, 2 * DEVIATION, closed=True)
        contour = np.asarray(found if len(found) >= 3 else contour, dtype=np.int32)
    return contour.reshape(-1, 2)
