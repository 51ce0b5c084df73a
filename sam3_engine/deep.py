"""Pictures with more than 8 bits per channel: brought to 8 bits by one rule, a few rows at a time.

The rule: the middle 99 % of the picture's values, of all colour channels together, are stretched from 0 to 255; the
darkest and the brightest half per cent are black and white. Values that are no data have no part in this and are drawn
as black or white: NaN and infinity, magnitudes from 1e30, the no-data value that a TIFF file names, and a lowest or
highest value that stands further from the next one than all others stand from each other, if it is negative or the
largest of its type. So 12 bits in 16, temperatures, heights, and a few dead pixels do not hide the picture.

Opacity has a range of its own, from 0 to the smallest of OPAQUE, or else the largest value of the type, that none of
the picture's exceeds: so an alpha of 255 is opaque whatever the type.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, PngImagePlugin, TiffImagePlugin

Values = npt.NDArray[Any]
"""[H, W] or [H, W, 3 or 4], the colours in the order R, G, B, alpha."""

Seen = npt.NDArray[np.uint8]

OPAQUE = (1, 2**8 - 1, 2**10 - 1, 2**12 - 1, 2**14 - 1, 2**16 - 1)
TAIL_PERCENT = 0.5
HUGE = 1e30
MOST_SAMPLED = 2**20
"""Values from which the range is found; of more, every n-th pixel counts."""
STRIP_VALUES = 2**18
"""Values that are brought to 8 bits at once, as numbers of 8 bytes."""
HELD_BYTES = 8
"""Bytes of a pixel whose values are held until the range is known, rather than read a second time."""


def is_deep(image: Image.Image) -> bool:
    """True for an opened file whose header tells of channels with more than 8 bits, or with signed numbers."""
    if image.mode.startswith("I") or image.mode == "F":
        return True
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        signed = 2 in image.tag_v2.get(TiffImagePlugin.SAMPLEFORMAT, (1,))
        return signed or max(image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (8,))) > 8
    return isinstance(image, PngImagePlugin.PngImageFile) and any(
        ";16" in str(tile[3]) for tile in image.tile
    )


def stretch(
    strips: Callable[[], Iterable[Values]],
    size: tuple[int, int],
    no_data: float | None = None,
    *,
    may_hold: bool = True,
) -> Seen:
    """uint8 [H, W] or [H, W, 3 or 4] of a picture of `size` (height, width), by the module's rule.

    strips: gives the picture's rows from above, a few at a time; it is called twice where a pixel has more than
    HELD_BYTES, or the values may not be held. A fourth channel is alpha. Raises ValueError where the strips are not
    the picture.
    """
    height, _ = size
    held: Values | None = None
    stretching, row = _Stretching(size, no_data), 0
    for strip in strips():
        stretching.see(strip)
        if len(strip) == height:
            return stretching.stretched([strip])
        if may_hold and strip[0, 0].nbytes <= HELD_BYTES:
            if held is None:
                held = np.empty((height, *strip.shape[1:]), strip.dtype)
            held[row : row + len(strip)] = strip
        row += len(strip)
        if row > height:
            break
    if row != height:
        raise ValueError("the strips are not the picture")
    if held is None:
        return stretching.stretched(strips())
    whole = [held]
    del held
    return stretching.in_place(whole.pop())


def to_eight_bits(values: Values, no_data: float | None = None) -> Seen:
    """uint8 of the same shape, by the module's rule."""
    stretching = _Stretching((values.shape[0], values.shape[1]), no_data)
    stretching.see(values)
    return stretching.stretched([values])


def grey_to_eight_bits(image: Image.Image, no_data: float | None = None, dtype: Any = None) -> Seen:
    """uint8 [H, W] of a Pillow image of one channel, by the module's rule. dtype: of its numbers, where Pillow takes
    them for others of the same size."""
    stretching = _Stretching((image.height, image.width), no_data)
    for strip in grey_strips(image, dtype):
        stretching.see(strip)
    return stretching.stretched(grey_strips(image, dtype))


def grey_strips(image: Image.Image, dtype: Any = None) -> Iterator[Values]:
    """The rows of a Pillow image of one channel, a few at a time."""
    rows = max(1, STRIP_VALUES // image.width)
    for row in range(0, image.height, rows):
        values = np.asarray(image.crop((0, row, image.width, min(row + rows, image.height))))
        yield values if dtype is None else values.view(dtype)


class _Stretching:
    """Sees a picture's strips, and then brings them to 8 bits."""

    def __init__(self, size: tuple[int, int], no_data: float | None) -> None:
        self._height, self._width = size
        self._no_data = no_data
        self._samples: list[Values] = []
        self._pixels = 0
        self._most_alpha = 0.0
        self._tables: tuple[Seen, Seen] | None = None
        self._low = self._high = self._opaque = 0.0

    def see(self, strip: Values) -> None:
        """Every n-th pixel, so that there are at most about MOST_SAMPLED values; and the largest alpha."""
        if strip.shape[1] != self._width:
            raise ValueError("the strips are not the picture")
        colours = strip.reshape(-1, strip.shape[2])[:, :3] if strip.ndim == 3 else strip.reshape(-1, 1)
        step = max(1, -(-self._height * self._width * colours.shape[1] // MOST_SAMPLED))
        self._samples.append(
            colours[-self._pixels % step :: step].reshape(-1).copy()
        )  # no view: the strip goes
        self._pixels += len(colours)
        if strip.ndim == 3 and strip.shape[2] == 4:
            alpha = strip[..., 3]
            if alpha.dtype.kind == "f":
                alpha = alpha[np.isfinite(alpha)]
            self._most_alpha = max(self._most_alpha, float(alpha.max(initial=0)))

    def stretched(self, strips: Iterable[Values]) -> Seen:
        """The strips that were seen, in 8 bits."""
        self._decide()
        seen: Seen | None = None
        row = 0
        for strip in strips:
            for rows in _divided(strip):
                if seen is None:
                    seen = np.empty((self._height, *rows.shape[1:]), dtype=np.uint8)
                seen[row : row + len(rows)] = self._seen(rows)
                row += len(rows)
        if seen is None or row != self._height:
            raise ValueError("the strips are not the picture")
        return seen

    def in_place(self, held: Values) -> Seen:
        """The whole picture in 8 bits, in the memory of its values; the rest of this is freed."""
        self._decide()
        shape, size = held.shape, held.size
        seen = held.reshape(-1).view(np.uint8)[:size].reshape(shape)
        row = 0
        for rows in _divided(held):
            seen[row : row + len(rows)] = self._seen(rows)  # which are no longer needed, nor those above
            row += len(rows)
        del seen, rows
        held.resize(-(-size // held.itemsize), refcheck=False)
        return held.view(np.uint8)[:size].reshape(shape)

    def _decide(self) -> None:
        values = np.concatenate(self._samples)
        self._samples.clear()
        self._low, self._high = _range(values, self._no_data)
        most = float(np.iinfo(values.dtype).max) if values.dtype.kind in "iu" else self._most_alpha
        # A thousandth: floats may exceed it by so much in rounding.
        self._opaque = (
            min(next((one for one in OPAQUE if self._most_alpha <= one * 1.001), most), most) or 1.0
        )
        if values.dtype.kind in "iu" and values.itemsize <= 2:
            every = np.arange(2 ** (8 * values.itemsize), dtype=f"u{values.itemsize}").view(
                values.dtype.newbyteorder("=")
            )
            self._tables = self._colours(every), self._alpha(every)

    def _seen(self, values: Values) -> Seen:
        if self._tables is None:
            if values.ndim == 2 or values.shape[2] == 3:
                return self._colours(values)
            return np.concatenate([self._colours(values[..., :3]), self._alpha(values[..., 3:])], axis=2)
        places = values.view(values.dtype.str.replace("i", "u"))
        seen = np.take(self._tables[0], places)
        if values.ndim == 3 and values.shape[2] == 4:
            seen[..., 3] = np.take(self._tables[1], places[..., 3])
        return seen

    def _colours(self, values: Values) -> Seen:
        if self._high <= self._low:
            return np.zeros(values.shape, np.uint8)
        numbers = np.nan_to_num(_numbers(values), nan=self._low, posinf=self._high, neginf=self._low)
        if self._no_data is not None:
            numbers[values == self._no_data] = self._low
        np.clip(numbers, self._low, self._high, out=numbers)
        numbers -= self._low
        numbers /= self._high - self._low  # no factor: of the smallest numbers it would be infinite
        numbers *= 255
        return np.rint(numbers, out=numbers).astype(np.uint8)

    def _alpha(self, values: Values) -> Seen:
        opacity = np.clip(np.nan_to_num(_numbers(values)) / self._opaque, 0.0, 1.0) * 255
        return np.rint(opacity).astype(np.uint8)


def _numbers(values: Values) -> npt.NDArray[np.float64]:
    with np.errstate(over="ignore"):  # of longer floats: infinity, which is no data
        return values.astype(np.float64)


def _divided(values: Values) -> Iterator[Values]:
    rows = max(1, STRIP_VALUES // max(1, values[0].size))
    for row in range(0, len(values), rows):
        yield values[row : row + rows]


def _range(flat: Values, no_data: float | None) -> tuple[float, float]:
    top = np.iinfo(flat.dtype).max if flat.dtype.kind in "iu" else HUGE
    every = _numbers(flat)
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
