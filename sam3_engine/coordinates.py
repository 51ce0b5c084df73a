"""Conversion of pixels of the original to fractions of the image."""

import numpy as np
import numpy.typing as npt

from sam3_engine.types import ImageSize


def normalised(points: npt.NDArray[np.float64], size: ImageSize) -> npt.NDArray[np.float64]:
    """Points (x, y), float [N, 2] in pixels of the original, as fractions of its width and height.

    The fractions are clipped to [-1, 2]: points further outside mean nothing to the model, and pooling features over
    a box of a billion pixels would take a billion steps.
    """
    return np.clip(points / [size.width, size.height], -1.0, 2.0)
