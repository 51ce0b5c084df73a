"""Pictures with more than 8 bits per channel: brought to 8 bits by one rule, a few rows at a time.

The rule: the middle 99 % of the picture's values, of all colour channels together, are stretched from 0 to 255; the
darkest and the brightest half per cent are black and white. Values that are no data have no part in this and are drawn
as black or white: NaN and infinity, magnitudes from 1e30, the no-data value that a TIFF file names, and a lowest or
highest value that stands further from the next one than all others stand from each other, if it is negative or the
largest of its type. So 12 bits in 16, temperatures, heights, and a few dead pixels do not hide the picture.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, PngImagePlugin, TiffImagePlugin

Values = npt.NDArray[Any]
"""[H, W] or [H, W, 3 or 4], the colours in the order R, G, B, alpha."""

Seen = npt.NDArray[np.uint8]

TAIL_PERCENT = 0.5
HUGE = 1e30
MOST_SAMPLED = 2**20
"""Values from which the range is found; of more, every n-th pixel counts."""
STRIP_VALUES = 2**18
"""Values that are brought to 8 bits at once, as numbers of 8 bytes."""


def is_deep(image: Image.Image) -> bool:
    """Whether an opened file has channels of more than 8 bits, from its header."""
    if image.mode.startswith("I") or image.mode == "F":
        return True
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return max(image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (8,))) > 8
    return isinstance(image, PngImagePlugin.PngImageFile) and any(
        ";16" in str(tile[3]) for tile in image.tile
    )


def stretch(
    strips: Callable[[], Iterable[Values]], size: tuple[int, int], no_data: float | None = None
) -> Seen:
    """uint8 [H, W] or [H, W, 3 or 4] of a picture of `size` (height, width), by the module's rule.

    strips: gives the picture's rows from above, a few at a time; it is called twice. A fourth channel is alpha: its
    own range becomes 0 to 255. Raises ValueError where the strips are not the picture.
    """
    height, width = size
    low, high = _range(strips(), height * width, no_data)
    stretched: Seen | None = None
    row = 0
    for strip in strips():
        for rows in _divided(strip):
            seen = _seen(rows, low, high, no_data)
            if stretched is None:
                stretched = np.empty((height, *seen.shape[1:]), dtype=np.uint8)
            stretched[row : row + len(seen)] = seen
            row += len(seen)
    if stretched is None or row != height or stretched.shape[1] != width:
        raise ValueError("the strips are not the picture")
    return stretched


def to_eight_bits(values: Values, no_data: float | None = None) -> Seen:
    """uint8 of the same shape, by the module's rule: see `stretch`."""
    return stretch(lambda: [values], (values.shape[0], values.shape[1]), no_data)


def grey_to_eight_bits(image: Image.Image, no_data: float | None = None) -> Seen:
    """uint8 [H, W] of a Pillow image of one deep channel: see `stretch`."""
    rows = max(1, STRIP_VALUES // image.width)

    def strips() -> Iterator[Values]:
        for row in range(0, image.height, rows):
            yield np.asarray(image.crop((0, row, image.width, min(row + rows, image.height))))

    return stretch(strips, (image.height, image.width), no_data)


def _divided(values: Values) -> Iterator[Values]:
    rows = max(1, STRIP_VALUES // max(1, values[0].size))
    for row in range(0, len(values), rows):
        yield values[row : row + rows]


def _seen(values: Values, low: float, high: float, no_data: float | None) -> Seen:
    colours, alpha = (values[..., :3], values[..., 3:]) if values.ndim == 3 else (values, None)
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


def _sampled(strips: Iterable[Values], pixels: int) -> Values:
    """The values of every n-th pixel, so that there are at most about MOST_SAMPLED."""
    parts, at = [], 0
    for strip in strips:
        colours = strip.reshape(-1, strip.shape[2])[:, :3] if strip.ndim == 3 else strip.reshape(-1, 1)
        step = max(1, -(-pixels * colours.shape[1] // MOST_SAMPLED))
        parts.append(colours[-at % step :: step].reshape(-1).copy())  # no view: the strip goes
        at += len(colours)
    return np.concatenate(parts)


def _range(strips: Iterable[Values], pixels: int, no_data: float | None) -> tuple[float, float]:
    flat = _sampled(strips, pixels)
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
