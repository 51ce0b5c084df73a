import numpy as np
import pytest
from pycocotools import mask as coco

from sam3_engine.regions import RegionMask
from serve_app.label.formats.outlines import outlines
from tests.support.labels import shapes

# pycocotools with numpy 2.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)


def disc(radius: int) -> np.ndarray:
    y, x = np.mgrid[:100, :120]
    return np.asarray((x - 50) ** 2 + (y - 50) ** 2 < radius**2)


def filled(mask: np.ndarray) -> np.ndarray:
    rings = [[value for point in ring for value in point] for ring in outlines(RegionMask.from_full(mask))]
    return np.asarray(coco.decode(coco.merge(coco.frPyObjects(rings, *mask.shape))), dtype=bool)


@pytest.mark.parametrize("name", ["parts", "corner", "whole", "pixel"])
def test_pycocotools_fills_an_outline_to_the_same_pixels(name: str) -> None:
    mask = shapes()[name]
    assert (filled(mask) == mask).all()


@pytest.mark.parametrize(("radius", "iou"), [(3, 0.85), (10, 0.93), (45, 0.98)])
def test_a_round_object_keeps_its_size_with_few_corners(radius: int, iou: float) -> None:
    mask = disc(radius)
    found = filled(mask)
    assert (found & mask).sum() / (found | mask).sum() > iou
    assert abs(int(found.sum()) - int(mask.sum())) / mask.sum() < 0.1
    (ring,) = outlines(RegionMask.from_full(mask))
    assert 3 <= len(ring) <= 48


def test_a_hole_is_left_out_and_nothing_has_no_outline() -> None:
    assert len(outlines(RegionMask.from_full(shapes()["hole"]))) == 1
    assert outlines(RegionMask.from_full(np.zeros((5, 5), dtype=bool))) == []
