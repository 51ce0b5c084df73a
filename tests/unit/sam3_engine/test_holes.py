"""Holes of clicks are filled as the package's predictor fills them by default."""

import inspect

import numpy as np
import pytest
import torch
from sam3.model.sam1_task_predictor import SAM3InteractiveImagePredictor
from sam3.model.utils.sam1_utils import SAM2Transforms

from sam3_engine.holes import MAX_HOLE_CELLS, fill_holes
from sam3_engine.spec import SAM3, TINY
from tests.unit.sam3_engine.mask_cases import rough_logits, smooth_logits

DEFAULTS = {
    name: parameter.default
    for name, parameter in inspect.signature(SAM3InteractiveImagePredictor.__init__).parameters.items()
}


@pytest.fixture(scope="module")
def official() -> SAM2Transforms:
    """The package's post-processing as its predictor sets it up by default."""
    with pytest.warns(FutureWarning, match="torch.jit"):
        return SAM2Transforms(
            SAM3.image_size,
            DEFAULTS["mask_threshold"],
            DEFAULTS["max_hole_area"],
            DEFAULTS["max_sprinkle_area"],
        )


def with_hole(cells: int) -> np.ndarray:
    """A square mask with a hole of at most 18 x 18 cells."""
    hole = np.zeros((18, 18), dtype=np.bool_)
    hole.flat[:cells] = True
    logits = np.full((64, 64), -5, dtype=np.float32)
    logits[10:50, 10:50] = 5
    logits[20:38, 20:38][hole] = -5
    return logits


def test_the_largest_hole_is_the_packages_default() -> None:
    assert DEFAULTS["max_hole_area"] == MAX_HOLE_CELLS
    assert DEFAULTS["max_sprinkle_area"] == 0


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("side", [TINY.mask_size, SAM3.mask_size])
def test_equals_the_packages_post_processing(official: SAM2Transforms, seed: int, side: int) -> None:
    logits = smooth_logits(seed, side, side, coarse=16) + rough_logits(seed, side, side) / 8
    theirs = official.postprocess_masks(logits[None, None], (side, side))[0, 0]
    assert np.array_equal(fill_holes(logits.numpy()), theirs.numpy())
    assert (theirs != logits).any(), "there are holes to fill"


def test_a_hole_is_filled_up_to_the_limit_and_a_larger_one_stays() -> None:
    small, large = with_hole(MAX_HOLE_CELLS), with_hole(MAX_HOLE_CELLS + 1)
    assert np.array_equal(fill_holes(small) > 0, with_hole(0) > 0)
    assert fill_holes(large) is large


def test_cells_that_touch_at_a_corner_are_one_hole() -> None:
    logits = np.full((64, 64), 5, dtype=np.float32)
    logits[10:26, 10:25] = logits[26:30, 25:32] = -1  # 240 and 28 cells, which meet at a corner
    assert fill_holes(logits) is logits


def test_a_mask_without_holes_is_returned_as_it_is() -> None:
    for logits in (
        with_hole(0),
        np.full((64, 64), -1, dtype=np.float32),
        np.ones((64, 64), dtype=np.float32),
    ):
        assert fill_holes(logits) is logits


def test_torch_logits_of_half_precision_reach_it_as_float32(official: SAM2Transforms) -> None:
    logits = smooth_logits(3, 64, 64, coarse=16).to(torch.bfloat16)
    theirs = official.postprocess_masks(logits[None, None], (64, 64))[0, 0]
    assert np.array_equal(fill_holes(logits.float().numpy()), theirs.numpy())
