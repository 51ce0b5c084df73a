import numpy as np
import pytest
from pycocotools import mask as coco

from sam3_engine.regions import RegionMask
from sam3_engine.rle import area, covered, from_rle, to_rle
from tests.unit.sam3_engine.mask_cases import SIZES, random_mask

# pycocotools.mask.decode knows no numpy 2 yet.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)


@pytest.mark.parametrize("size", SIZES)
def test_equals_pycocotools_on_the_full_mask(size: tuple[int, int]) -> None:
    for seed in range(24):
        mask = random_mask(seed, size)
        expected = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
        rle = to_rle(RegionMask.from_full(mask))
        assert rle == {"size": list(expected["size"]), "counts": expected["counts"].decode()}
        assert area(rle) == mask.sum()
        assert covered(rle["counts"]) == mask.size
        assert np.array_equal(from_rle(rle), mask)


def test_runs_that_cross_columns_are_joined() -> None:
    mask = np.zeros((3, 4), dtype=np.bool_)
    mask[2, 1] = mask[0, 2] = True  # neighbours in column-major order
    rle = to_rle(RegionMask.from_full(mask))
    assert rle["counts"] == coco.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"].decode()


def test_ready_for_json() -> None:
    rle = to_rle(RegionMask.from_full(np.eye(5, dtype=np.bool_)))
    assert rle["size"] == [5, 5]
    assert all(type(side) is int for side in rle["size"])
    assert type(rle["counts"]) is str


def test_runs_that_overrun_the_image_are_refused() -> None:
    with pytest.raises(ValueError, match="7 x 5"):
        from_rle({"size": [7, 5], "counts": "99999999"})


@pytest.mark.parametrize("counts", [[40, 20], [0, 5], [3, 1, 700_000, 2, 1, 900_000, 1], [0]])
def test_runs_of_any_length_are_added_up(counts: list[int]) -> None:
    encoded = coco.frPyObjects({"size": [1, sum(counts)], "counts": counts}, 1, sum(counts))[
        "counts"
    ].decode()
    assert covered(encoded) == sum(counts)


@pytest.mark.parametrize("text", ["", "~", "o", "oooooooo1", "@", " "])
def test_a_text_that_holds_no_runs(text: str) -> None:
    with pytest.raises(ValueError, match="not a run-length encoding"):
        covered(text)
