"""Reads the colours of PNG and TIFF files in their own depth, and brings them to 8 bits, a few rows at a time."""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from sam3_engine.deep import HELD_BYTES, Values, stretch, to_eight_bits
from sam3_engine.formats import opencv, png, png_strips, tiff, tiff_strips
from sam3_engine.formats.cost import check_cost, is_allowed
from sam3_engine.formats.directories import Directory, read_directory
from sam3_engine.formats.progress import GOES_ON, Progress

Seen = npt.NDArray[np.uint8]
Strips = Callable[[], Iterator[Values]]
ORIENTATION = 274
_WHITE_IS_ZERO = 0
_UNSPECIFIED, _ASSOCIATED = 0, 1


def read(content: bytes, no_data: float | None, progress: Progress = GOES_ON) -> tuple[Seen, int] | None:
    """uint8 [H, W] or [H, W, 3 or 4] of the first picture, and the orientation of a TIFF's that is still to be undone;
    None where it cannot be read.

    Raises ImageTooLarge where the file cannot be read a few rows at a time, and the whole picture is too large, and
    DecodingStopped where `progress` does.
    """
    if content.startswith(png.SIGNATURE):
        return _png(content, no_data, progress)
    directory = read_directory(content)
    if directory is None or (layout := tiff.layout(directory)) is None:
        return None
    seen = _tiff(content, directory, layout, no_data, progress)
    if seen is not None and seen[0].ndim == 2 and directory.numbers(tiff.PHOTOMETRIC) == [_WHITE_IS_ZERO]:
        np.subtract(255, seen[0], out=seen[0])
    return seen


def _tiff(
    content: bytes, directory: Directory, layout: tiff.Layout, no_data: float | None, progress: Progress
) -> tuple[Seen, int] | None:
    layout = tiff_strips.cut(layout)
    pixels, bands = layout.width * layout.height, tiff_strips.row_bytes(layout)
    held = (2 if layout.down == 1 else 3) * bands  # OpenCV holds two; the first one waits for the second
    check_cost(held + 4 * pixels, pixels, "a TIFF image with strips or tiles as large as these")
    size = layout.height, layout.width
    strips = _meant(_watched(lambda: tiff_strips.strips(content, directory, layout), progress), directory)
    try:
        seen = stretch(strips, size, no_data, may_hold=is_allowed(held + HELD_BYTES * pixels, pixels))
        return seen, next(iter(directory.numbers(ORIENTATION)), 1)
    except ValueError:  # such as a file that does not say how long its strips are
        needed = pixels * (2 * layout.bits // 8 + 4)
        copied = tiff_strips.integers(directory, layout) is not None  # which OpenCV reads from strips alone
        if layout.planes > 1 or copied or not is_allowed(needed, pixels):
            return None
        whole = opencv.read(content, layout.sample_bits)
        if whole is None:
            return None
        (values,) = _meant(lambda: iter([whole]), directory)()
        return to_eight_bits(values, no_data), 1


def _watched(strips: Strips, progress: Progress) -> Strips:
    def watched() -> Iterator[Values]:
        for values in strips():
            progress.step()
            yield values

    return watched


def _meant(strips: Strips, directory: Directory) -> Strips:
    """The strips without a fourth channel that is no alpha, and with colours that are not multiplied by it."""
    kind = next(iter(directory.numbers(tiff.EXTRA)[-1:]), None)
    if kind not in (_UNSPECIFIED, _ASSOCIATED):
        return strips

    def meant() -> Iterator[Values]:
        for values in strips():
            if values.ndim == 2 or values.shape[2] < 4:
                yield values
            else:
                yield values[..., :3] if kind == _UNSPECIFIED else _straight(values)

    return meant


def _straight(values: Values) -> Values:
    """The colours over the alpha that they are multiplied by: a transparent pixel has none. float32 of the same
    shape."""
    straight = values.astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        straight[..., :3] /= straight[..., 3:]
    return straight


def _png(content: bytes, no_data: float | None, progress: Progress) -> tuple[Seen, int] | None:
    width, height, channels = png_strips.shape(content)
    if png_strips.is_interlaced(content):
        needed = 4 * channels * width * height
        check_cost(needed, width * height, "an interlaced PNG image of 16 bits")
        values = opencv.read(content, 16)
        return None if values is None else (to_eight_bits(values, no_data), 1)
    try:
        strips = _watched(lambda: png_strips.strips(content), progress)
        return stretch(strips, (height, width), no_data), 1
    except ValueError:
        return None
