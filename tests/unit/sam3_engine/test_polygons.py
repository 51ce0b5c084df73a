from typing import Any

import cv2
import numpy as np
import pytest

from sam3_engine.polygons import to_polygons, to_polygons_with_holes
from sam3_engine.regions import BoolArray, RegionMask
from tests.unit.sam3_engine.mask_cases import SIZES, random_mask


def redraw(parts: list[list[list[list[int]]]], size: tuple[int, int]) -> BoolArray:
    """Fill each part's borders (the outer one and its holes) by the even-odd rule, outlines included."""
    canvas = np.zeros(size, dtype=np.uint8)
    for borders in parts:
        cv2.fillPoly(canvas, [np.array(border, dtype=np.int32) for border in borders], 1)
    return canvas.astype(np.bool_)


@pytest.mark.parametrize("size", SIZES)
def test_equals_opencv_on_the_full_mask(size: tuple[int, int]) -> None:
    for seed in range(12):
        mask = random_mask(seed, size)
        contours, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        assert to_polygons(RegionMask.from_full(mask)) == [contour[:, 0].tolist() for contour in contours]


def test_arrays_hold_the_same_points() -> None:
    mask = RegionMask.from_full(random_mask(3, SIZES[-1]))
    outlines: Any = to_polygons(mask, arrays=True)
    assert [part.tolist() for part in outlines] == to_polygons(mask)
    parts = to_polygons_with_holes(mask)
    arrays: Any = to_polygons_with_holes(mask, arrays=True)
    assert [part["outer"].tolist() for part in arrays] == [part["outer"] for part in parts]
    assert [[hole.tolist() for hole in part["holes"]] for part in arrays] == [part["holes"] for part in parts]


@pytest.mark.parametrize("size", SIZES)
def test_with_holes_nothing_is_lost(size: tuple[int, int]) -> None:
    for seed in range(12):
        mask = random_mask(seed, size)
        parts = to_polygons_with_holes(RegionMask.from_full(mask))
        assert np.array_equal(redraw([[part["outer"], *part["holes"]] for part in parts], size), mask)


def test_a_ring_with_an_island() -> None:
    mask = np.zeros((40, 60), dtype=np.bool_)
    mask[5:35, 10:50] = True
    mask[10:30, 20:40] = False
    mask[15:20, 25:30] = True
    region = RegionMask.from_full(mask)
    parts = to_polygons_with_holes(region)
    outer = [[10, 5], [10, 34], [49, 34], [49, 5]]
    assert sorted(len(part["holes"]) for part in parts) == [0, 1]
    assert {tuple(map(tuple, part["outer"])) for part in parts} == {
        tuple(map(tuple, outer)),
        ((25, 15), (25, 19), (29, 19), (29, 15)),
    }
    assert to_polygons(region) == [outer], "the plain format knows outer borders only"


def test_points_are_plain_integers() -> None:
    (polygon,) = to_polygons(RegionMask.from_full(np.ones((3, 3), dtype=np.bool_)))
    assert all(type(value) is int for point in polygon for value in point)


def test_an_empty_mask_has_no_polygon() -> None:
    region = RegionMask.from_full(np.zeros((3, 3), dtype=np.bool_))
    assert to_polygons(region) == []
    assert to_polygons_with_holes(region) == []
