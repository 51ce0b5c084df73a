"""Mask logits and masks of many kinds, for the tests of regions, polygons and RLE."""

import numpy as np
import torch
import torch.nn.functional as F

from sam3_engine.regions import BoolArray
from sam3_engine.types import ImageSize

SIZES = [
    (1, 1),
    (1, 7),
    (9, 1),
    (3, 2),
    (64, 64),
    (65, 63),
    (37, 101),
    (480, 640),
    (1, 3000),
    (2000, 3),
    (301, 1999),
]

KINDS = 6
"""Kinds of masks that `random_mask` draws."""
MANY = 100_000


def smooth_logits(seed: int, height: int, width: int, coarse: int = 4, scale: float = 8.0) -> torch.Tensor:
    """Logits as a model makes them: blobs with steep borders. float32 [height, width]."""
    noise = torch.randn(1, 1, coarse, coarse, generator=torch.Generator().manual_seed(seed)) * scale
    return F.interpolate(noise, size=(height, width), mode="bicubic", align_corners=False)[0, 0]


def rough_logits(seed: int, height: int, width: int) -> torch.Tensor:
    """Independent noise in every cell: the worst case for borders."""
    return torch.randn(height, width, generator=torch.Generator().manual_seed(seed)) * 8


def full_resolution(logits: torch.Tensor, size: ImageSize) -> torch.Tensor:
    """The reference: the float map at the original's size, [H, W]."""
    return F.interpolate(logits[None, None].float(), size=tuple(size), mode="bilinear", align_corners=False)[
        0, 0
    ]


def seeds(size: tuple[int, int]) -> range:
    """Seeds of `random_mask`: each of its kinds twice, or once where a mask has many pixels."""
    return range(KINDS if size[0] * size[1] > MANY else 2 * KINDS)


def random_mask(seed: int, size: tuple[int, int]) -> BoolArray:
    """A mask of blobs with holes and specks; sometimes all or nothing, sometimes touching every border."""
    rng = np.random.default_rng(seed)
    kind = seed % KINDS
    if kind == 0:
        return np.zeros(size, dtype=np.bool_)
    if kind == 1:
        return np.ones(size, dtype=np.bool_)
    if kind == 2:
        return rng.random(size) < rng.random()
    height, width = size
    logits = smooth_logits(seed, min(height, 24), min(width, 24), coarse=int(rng.integers(2, 9)))
    mask = (full_resolution(logits, ImageSize(height, width)) > 0).numpy()
    if kind == 3:
        mask &= rng.random(size) < 0.95
    return mask
