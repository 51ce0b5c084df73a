"""Fills small holes in the masks of clicks and boxes, as the sam3 package's predictor does. Needs no torch."""

import cv2
import numpy as np
import numpy.typing as npt

MAX_HOLE_CELLS = 256
"""Largest hole that is filled, in cells of the low-resolution logits: the package's default."""
FILLED = np.float32(10.0)
"""The logit of a filled cell, as in the package."""


def fill_holes(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Mask logits [h, w] in which every small region that is not mask has become mask.

    A region is a set of cells with logits <= 0 that touch at a side or a corner. One of at most MAX_HOLE_CELLS cells
    is filled, at the image's border too, and also where nothing of the mask surrounds it: the package does the same.
    Returns the argument itself where there is nothing to fill.
    """
    background = (logits <= 0).view(np.uint8)
    _, regions, stats, _ = cv2.connectedComponentsWithStats(background, connectivity=8)
    small = stats[:, cv2.CC_STAT_AREA] <= MAX_HOLE_CELLS
    small[0] = False  # region 0 is the mask itself
    return np.where(small[regions], FILLED, logits) if small.any() else logits
