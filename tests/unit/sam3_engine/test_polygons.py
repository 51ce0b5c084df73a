from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco

from sam3_engine.polygons import to_polygons, to_polygons_with_holes
from sam3_engine.regions import BoolArray, RegionMask
from tests.unit.sam3_engine.mask_cases import SIZES, random_mask, seeds


def redraw(parts: list[list[list[list[int]]]], size: tuple[int, int]) -> BoolArray:
    """Fill each part's borders (the outer one and its holes) by the even-odd rule, outlines included."""
    canvas = np.zeros(size, dtype=np.uint8)
    for borders in parts:
        cv2.fillPoly(canvas, [np.array(border, dtype=np.int32) for border in borders], 1)
    return canvas.astype(np.bool_)


def _at_least_three(points: list[list[int]]) -> list[list[int]]:
    return points + [points[0]] * (3 - len(points))


def rings_of(mask: BoolArray) -> list[list[list[int]]]:
    """All polygons of a mask, in both formats."""
    region = RegionMask.from_full(mask)
    parts = to_polygons_with_holes(region)
    return [*to_polygons(region), *(ring for part in parts for ring in (part["outer"], *part["holes"]))]


@pytest.mark.parametrize("size", SIZES[:-1])  # it draws each ring on a whole picture
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools with numpy 2
def test_pycocotools_takes_every_polygon(size: tuple[int, int]) -> None:
    for seed in seeds(size):
        mask = random_mask(seed, size)
        rings = rings_of(mask)
        assert bool(rings) == mask.any()
        if not rings:
            continue
        encoded = coco.frPyObjects([np.array(ring, dtype=float).ravel().tolist() for ring in rings], *size)
        assert len(encoded) == len(rings)
        assert coco.decode(coco.merge(encoded)).shape == size


@pytest.mark.parametrize(
    ("pixels", "ring"),
    [
        ([(4, 7)], [[7, 4]] * 3),
        ([(4, 7), (4, 8), (4, 9)], [[7, 4], [9, 4], [7, 4]]),
        ([(4, 7), (5, 8)], [[7, 4], [8, 5], [7, 4]]),
    ],
    ids=["one pixel", "a line", "a diagonal"],
)
def test_a_part_too_small_for_a_ring_repeats_a_point(
    pixels: list[tuple[int, int]], ring: list[list[int]]
) -> None:
    mask = np.zeros((10, 12), dtype=np.bool_)
    for place in pixels:
        mask[place] = True
    assert to_polygons(RegionMask.from_full(mask)) == [ring]
    assert to_polygons_with_holes(RegionMask.from_full(mask)) == [{"outer": ring, "holes": []}]
    assert np.array_equal(redraw([[ring]], (10, 12)), mask)


def test_the_largest_polygon_comes_first() -> None:
    mask = np.zeros((60, 60), dtype=np.bool_)
    mask[2, 2] = True  # OpenCV begins at the top or the bottom of any shape
    mask[10:50, 10:50] = True
    mask[12:16, 12:16] = mask[20:40, 20:40] = mask[45:47, 45:47] = False
    mask[55:59, 50:58] = True
    region = RegionMask.from_full(mask)
    areas = [cv2.contourArea(np.array(ring, dtype=np.int32)) for ring in to_polygons(region)]
    assert areas == sorted(areas, reverse=True)
    assert len(areas) == 3
    parts = to_polygons_with_holes(region)
    assert [part["outer"] for part in parts] == to_polygons(region)
    holes = [cv2.contourArea(np.array(hole, dtype=np.int32)) for hole in parts[0]["holes"]]
    assert holes == sorted(holes, reverse=True)
    assert len(holes) == 3


@pytest.mark.parametrize("size", SIZES)
def test_equals_opencv_on_the_full_mask(size: tuple[int, int]) -> None:
    for seed in seeds(size):
        mask = random_mask(seed, size)
        contours, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        found = to_polygons(RegionMask.from_full(mask))
        assert sorted(found) == sorted(_at_least_three(contour[:, 0].tolist()) for contour in contours)


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
    for seed in seeds(size):
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
