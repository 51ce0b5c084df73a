"""Reads the colours of PNG and TIFF files in their own depth, and brings them to 8 bits, a few rows at a time."""

from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
import numpy.typing as npt

from sam3_engine.deep import Values, stretch, to_eight_bits
from sam3_engine.formats import opencv, png, png_strips, tiff, tiff_strips
from sam3_engine.formats.cost import check_cost, is_allowed
from sam3_engine.formats.directories import read_directory

Seen = npt.NDArray[np.uint8]
ORIENTATION = 274


def read(content: bytes, no_data: float | None) -> tuple[Seen, int] | None:
    """uint8 [H, W] or [H, W, 3 or 4] of the first picture, and the orientation of a TIFF's that is still to be undone;
    None where it cannot be read.

    Raises ImageTooLarge where the file cannot be read a few rows at a time, and the whole picture is too large.
    """
    if content.startswith(png.SIGNATURE):
        return _png(content, no_data)
    directory = read_directory(content)
    if directory is None or (layout := tiff.layout(directory)) is None:
        return None
    layout = tiff_strips.cut(layout)
    pixels, bands = layout.width * layout.height, tiff_strips.row_bytes(layout)
    held = 2 if layout.down == 1 else 3  # OpenCV holds two; the first one waits for the second
    check_cost(held * bands + 4 * pixels, pixels, "a TIFF image with strips or tiles as large as these")
    size = layout.height, layout.width
    try:
        seen = _stretched(lambda: tiff_strips.strips(content, directory, layout), size, no_data)
        return seen, next(iter(directory.numbers(ORIENTATION)), 1)
    except ValueError:  # such as a file that does not say how long its strips are
        needed = pixels * (2 * layout.bits // 8 + 4)
        if layout.planes > 1 or not is_allowed(needed, pixels):
            return None
        return _whole(content, no_data, layout.sample_bits)


def _png(content: bytes, no_data: float | None) -> tuple[Seen, int] | None:
    width, height, channels = png_strips.shape(content)
    if png_strips.is_interlaced(content):
        needed = 4 * channels * width * height
        check_cost(needed, width * height, "an interlaced PNG image of 16 bits")
        return _whole(content, no_data)
    try:
        return _stretched(lambda: png_strips.strips(content), (height, width), no_data), 1
    except ValueError:
        return None


def _stretched(strips: Callable[[], Iterator[Values]], size: tuple[int, int], no_data: float | None) -> Seen:
    first = list(islice(strips(), 2))
    if len(first) == 1:  # decoded once
        return stretch(lambda: first, size, no_data)
    first.clear()
    return stretch(strips, size, no_data)


def _whole(content: bytes, no_data: float | None, bits: int = 16) -> tuple[Seen, int] | None:
    values = opencv.read(content, bits)
    return None if values is None else (to_eight_bits(values, no_data), 1)
