"""Up-samples low-resolution mask logits to masks in the original's pixels, without full-resolution float maps.

Up-sampling is bilinear with `align_corners=False`, as the sam3 package does it: an output pixel is a convex
combination of the four low-resolution cells around it, so only pixels that touch a cell above the threshold
can be in the mask. The bilinear map is computed for the bounding rectangle of these pixels alone, some rows at a
time. Tensors are only read here, so this module does not import torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from sam3_engine.types import Box, ImageSize

if TYPE_CHECKING:
    import torch

Float32Array = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.intp]
BoolArray = npt.NDArray[np.bool_]

PIXELS_AT_ONCE = 1 << 16
"""Pixels computed at once (16 bytes each): few enough to stay in the CPU's cache."""


@dataclass(frozen=True, slots=True)
class RegionMask:
    """A mask stored as its bounding region: `crop` (bool [h, w], tight) with its top-left pixel at (x0, y0).

    `size` is the whole image's. An empty mask has a crop of shape (0, 0) at (0, 0).
    """

    size: ImageSize
    x0: int
    y0: int
    crop: BoolArray

    @property
    def area(self) -> int:
        """Number of pixels in the mask."""
        return int(np.count_nonzero(self.crop))

    @property
    def box(self) -> Box:
        """Bounding box (x0, y0, x1, y1) in pixels; x1 and y1 are exclusive. All zero for an empty mask."""
        height, width = self.crop.shape
        return float(self.x0), float(self.y0), float(self.x0 + width), float(self.y0 + height)

    def full(self) -> BoolArray:
        """The mask as a bool array of the whole image, [height, width]."""
        mask = np.zeros(self.size, dtype=np.bool_)
        height, width = self.crop.shape
        mask[self.y0 : self.y0 + height, self.x0 : self.x0 + width] = self.crop
        return mask

    @classmethod
    def from_full(cls, mask: BoolArray) -> RegionMask:
        """Crop a bool array [height, width] of a whole image to its tight region."""
        return _tight(ImageSize(*mask.shape), 0, 0, mask)


@dataclass(frozen=True, slots=True)
class _Axis:
    """Bilinear sampling along one axis: output pixel i mixes cells lower[i] and upper[i] (weight[i] for upper)."""

    lower: IntArray
    upper: IntArray
    weight: Float32Array

    @classmethod
    def of(cls, cells: int, pixels: int) -> _Axis:
        # In float32 and in torch's own order of operations (aten/native/UpSample.h), so that the weights agree to
        # the last bits: logits are steep, and an error of 1e-5 cells would already change pixels.
        scale = np.float32(cells) / np.float32(pixels)
        source = scale * (np.arange(pixels, dtype=np.float32) + np.float32(0.5)) - np.float32(0.5)
        source = np.maximum(source, np.float32(0.0))
        lower = np.minimum(source.astype(np.intp), cells - 1)
        weight = np.clip(source - lower.astype(np.float32), 0.0, 1.0).astype(np.float32)
        return cls(lower, np.minimum(lower + 1, cells - 1), weight)

    def reading(self, first: int, last: int) -> slice:
        """The output pixels that read any of the cells first..last."""
        return slice(
            int(np.searchsorted(self.upper, first)), int(np.searchsorted(self.lower, last, side="right"))
        )

    def within(self, part: slice) -> _Axis:
        return _Axis(self.lower[part], self.upper[part], self.weight[part])


def region_mask(logits: torch.Tensor, size: ImageSize, *, inclusive: bool = False) -> RegionMask:
    """Up-sample one instance's logits to the original's pixels and threshold them at zero.

    logits: [h, w], any float dtype, any device, for the whole image. The mask is logits > 0 (`inclusive`: >=
    0) after bilinear up-sampling (align_corners=False) to `size`. The result equals thresholding the full map of
    `torch.nn.functional.interpolate`, except for pixels within rounding (1e-4) of the threshold. Memory: one
    byte per pixel of the region and a bounded working set. Raises ValueError for logits of another rank and for
    an empty image.
    """
    if logits.ndim != 2 or min(logits.shape) < 1:
        raise ValueError(f"expected mask logits of shape [h, w], got {tuple(logits.shape)}")
    if min(size) < 1:
        raise ValueError(f"expected an image of at least one pixel, got {tuple(size)}")
    return mask_of_array(logits.detach().cpu().float().numpy(), size, inclusive=inclusive)


def mask_of_array(logits: Float32Array, size: ImageSize, *, inclusive: bool = False) -> RegionMask:
    """`region_mask` for logits that are a float32 array [h, w] already."""
    above = logits >= 0 if inclusive else logits > 0
    occupied_rows, occupied_cols = np.flatnonzero(above.any(axis=1)), np.flatnonzero(above.any(axis=0))
    if occupied_rows.size == 0:
        return _empty(size)
    rows, cols = _Axis.of(logits.shape[0], size.height), _Axis.of(logits.shape[1], size.width)
    row_part = rows.reading(int(occupied_rows[0]), int(occupied_rows[-1]))
    col_part = cols.reading(int(occupied_cols[0]), int(occupied_cols[-1]))
    crop = _upsample_above(logits, rows.within(row_part), cols.within(col_part), inclusive)
    return _tight(size, row_part.start, col_part.start, crop)


def _upsample_above(logits: Float32Array, rows: _Axis, cols: _Axis, inclusive: bool) -> BoolArray:
    """The thresholded bilinear map at the given output rows and columns, band by band of output rows."""
    crop = np.empty((len(rows.lower), len(cols.lower)), dtype=np.bool_)
    if crop.size == 0:
        return crop
    compare = np.greater_equal if inclusive else np.greater
    step = max(1, PIXELS_AT_ONCE // crop.shape[1])
    for start in range(0, crop.shape[0], step):
        band = rows.within(slice(start, start + step))
        first, last = int(band.lower[0]), int(band.upper[-1])
        # Columns first: the band's few cell rows are widened once, and each output row then mixes two of them.
        cells = logits[first : last + 1]
        wide = cells.take(cols.lower, axis=1) * (np.float32(1.0) - cols.weight)
        wide += cells.take(cols.upper, axis=1) * cols.weight
        weight = band.weight[:, None]
        value = wide[band.lower - first]
        value *= np.float32(1.0) - weight
        other = wide[band.upper - first]
        other *= weight
        value += other
        compare(value, 0, out=crop[start : start + step])
    return crop


def _tight(size: ImageSize, y0: int, x0: int, crop: BoolArray) -> RegionMask:
    rows, cols = np.flatnonzero(crop.any(axis=1)), np.flatnonzero(crop.any(axis=0))
    if rows.size == 0:
        return _empty(size)
    part = crop[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    # Where the tight crop is smaller, a copy: a view would keep the larger array alive.
    tight = part if part.shape == crop.shape else part.copy()
    return RegionMask(size, x0 + int(cols[0]), y0 + int(rows[0]), np.ascontiguousarray(tight))


def _empty(size: ImageSize) -> RegionMask:
    return RegionMask(size, 0, 0, np.zeros((0, 0), dtype=np.bool_))
