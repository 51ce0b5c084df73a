"""Masks as polygons that people edit: one for each part of a mask, with few enough corners to drag."""

import cv2
import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Outline = npt.NDArray[np.float64]
"""[N, 2]: x and y of the corners, in pixels of the image, (0, 0) the corner of the first pixel."""

FINENESS = 0.001
"""How far an outline may leave the mask's border, as a part of the border's length: as X-AnyLabeling's own."""
STAIR, SMALL = 0.6, 4.0
"""Every slanting border is stairs of a pixel. An outline may leave it by so many pixels to flatten them, but no more
than so many times its fineness: a few pixels decide what a small shape is."""
LEAST_CORNERS = 3


def outlines(mask: Mask, fineness: float = FINENESS) -> list[Outline]:
    """The outer borders of a mask's parts, largest first. A polygon cannot carry holes, nor a part that is a line or a
    single pixel: both are lost."""
    contours, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    found = []
    for contour in sorted(contours, key=lambda one: -cv2.contourArea(one)):
        length = cv2.arcLength(contour, closed=True)
        leave = max(fineness * length, min(STAIR, SMALL * fineness * length))
        few = cv2.approxPolyDP(contour, leave, closed=True)
        if len(few) >= LEAST_CORNERS and cv2.contourArea(few) > 0:
            # A border runs through the centres of its pixels.
            found.append(few.reshape(-1, 2).astype(np.float64) + 0.5)
    return found
