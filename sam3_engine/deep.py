"""Pictures with more than 8 bits per channel: read whole, and brought to 8 bits by one rule.

The rule: the middle 99 % of the picture's values, of all colour channels together, are stretched from 0 to 255; the
darkest and the brightest half per cent are black and white. Values that are no data have no part in this and are drawn
as black or white: NaN and infinity, magnitudes from 1e30, the no-data value that a TIFF file names, and a lowest or
highest value that stands further from the next one than all others stand from each other, if it is negative or the
largest of its type. So 12 bits in 16, temperatures, heights, and a few dead pixels do not hide the picture.
"""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, PngImagePlugin, TiffImagePlugin

Values = npt.NDArray[Any]
"""[H, W] or [H, W, 3 or 4], the colours in the order R, G, B, alpha."""

TAIL_PERCENT = 0.5
HUGE = 1e30
MOST_SAMPLED = 2**20
"""Values from which the range is found; of more, every n-th pixel counts."""


def is_deep(image: Image.Image) -> bool:
    """Whether an opened file has channels of more than 8 bits, from its header."""
    if image.mode.startswith("I") or image.mode == "F":
        return True
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return max(image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (8,))) > 8
    return isinstance(image, PngImagePlugin.PngImageFile) and any(
        ";16" in str(tile[3]) for tile in image.tile
    )


def read_whole(content: bytes) -> Values | None:
    """The first picture of a PNG or TIFF file in its own depth, a TIFF's upright; None where OpenCV cannot read it."""
    level = cv2.getLogLevel()
    cv2.setLogLevel(0)  # it would write about broken files to the screen
    try:
        values = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    finally:
        cv2.setLogLevel(level)
    if values is None or values.ndim == 2:
        return values
    channels = values.shape[2]
    return values[..., [2, 1, 0, 3][:channels]] if channels in (3, 4) else None


def to_eight_bits(values: Values, no_data: float | None = None) -> npt.NDArray[np.uint8]:
    """uint8 of the same shape, by the module's rule. A fourth channel is alpha: its own range becomes 0 to 255."""
    colours, alpha = (values[..., :3], values[..., 3:]) if values.ndim == 3 else (values, None)
    low, high = _range(colours, no_data)
    scale = 255.0 / (high - low) if high > low else 0.0
    numbers = np.nan_to_num(colours.astype(np.float64), nan=low, posinf=high, neginf=low)
    if no_data is not None:
        numbers[colours == no_data] = low
    stretched = np.round((np.clip(numbers, low, high) - low) * scale).astype(np.uint8)
    if alpha is None or alpha.shape[2] == 0:
        return stretched
    most = float(np.iinfo(alpha.dtype).max) if alpha.dtype.kind in "iu" else 1.0
    opacity = np.clip(np.nan_to_num(alpha.astype(np.float64)) / most, 0.0, 1.0) * 255
    return np.concatenate([stretched, np.round(opacity).astype(np.uint8)], axis=2)


def _range(colours: Values, no_data: float | None) -> tuple[float, float]:
    pixels = colours.reshape(-1, colours.shape[2] if colours.ndim == 3 else 1)
    flat = pixels[:: max(1, -(-pixels.size // MOST_SAMPLED))].reshape(-1)
    top = np.iinfo(flat.dtype).max if flat.dtype.kind in "iu" else HUGE
    every = flat.astype(np.float64)
    numbers = np.sort(every[np.isfinite(every) & (np.abs(every) < HUGE)])
    if no_data is not None:
        numbers = numbers[numbers != no_data]
    distinct = np.unique(numbers)
    if len(distinct) > 2 and distinct[0] < 0 and distinct[1] - distinct[0] > distinct[-1] - distinct[1]:
        distinct = distinct[1:]
    if len(distinct) > 2 and distinct[-1] >= top and distinct[-1] - distinct[-2] > distinct[-2] - distinct[0]:
        distinct = distinct[:-1]
    if len(distinct) == 0:
        return 0.0, 0.0
    numbers = numbers[(numbers >= distinct[0]) & (numbers <= distinct[-1])]
    low = float(np.percentile(numbers, TAIL_PERCENT, method="higher"))
    high = float(np.percentile(numbers, 100 - TAIL_PERCENT, method="lower"))
    return (low, high) if high > low else (float(numbers[0]), float(numbers[-1]))
