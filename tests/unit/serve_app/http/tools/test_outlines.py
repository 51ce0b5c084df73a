"""Masks as polygons that people edit."""

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from serve_app.http.tools.outlines import outlines


def disc(radius: int, size: int = 400) -> npt.NDArray[np.bool_]:
    y, x = np.mgrid[:size, :size]
    return np.asarray((x - size / 2) ** 2 + (y - size / 2) ** 2 <= radius**2)


def filled(found: list[npt.NDArray[np.float64]], shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    mask = np.zeros(shape, dtype=np.uint8)
    for outline in found:
        cv2.fillPoly(mask, [np.round(outline - 0.5).astype(np.int32)], 1)
    return mask.astype(np.bool_)


@pytest.mark.parametrize("radius", [4, 20, 150])
def test_few_corners_give_the_mask_back(radius: int) -> None:
    mask = disc(radius)
    (outline,) = outlines(mask)
    assert 3 <= len(outline) <= 80
    both = filled([outline], mask.shape)
    assert (both & mask).sum() / (both | mask).sum() > 0.95


def test_every_part_is_an_outline_the_largest_first() -> None:
    mask = np.zeros((60, 80), dtype=np.bool_)
    mask[5:10, 5:10] = mask[20:50, 30:70] = True
    first, second = outlines(mask)
    assert first.min(axis=0).tolist() == [30.5, 20.5]
    assert second.max(axis=0).tolist() == [9.5, 9.5]


def test_a_mask_without_area_has_no_outline() -> None:
    mask = np.zeros((20, 20), dtype=np.bool_)
    assert outlines(mask) == []
    mask[3, 4] = mask[10, 2:15] = True
    assert outlines(mask) == []
