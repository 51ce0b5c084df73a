import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sam3_engine.nms import BLOCK, keep_by_mask_iou
from sam3_engine.regions import BoolArray, RegionMask
from sam3_engine.rle import Rle, to_rle


def bar(start: int, stop: int, width: int = 100) -> BoolArray:
    mask = np.zeros((2, width), dtype=np.bool_)
    mask[:, start:stop] = True
    return mask


def rles(masks: list[BoolArray]) -> list[Rle]:
    return [to_rle(RegionMask.from_full(mask)) for mask in masks]


def by_definition(scores: list[float], masks: list[BoolArray], threshold: float) -> list[int]:
    kept: list[int] = []
    for index in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
        unions = [(masks[index] | masks[other]).sum() for other in kept]
        shared = [(masks[index] & masks[other]).sum() for other in kept]
        if not any(u and s / u > threshold for s, u in zip(shared, unions, strict=True)):
            kept.append(index)
    return kept


def test_keeps_the_best_of_overlapping_masks() -> None:
    masks = rles([bar(0, 50), bar(0, 60), bar(80, 90)])
    assert keep_by_mask_iou([0.6, 0.9, 0.7], masks, 0.5) == [1, 2]


def test_an_iou_equal_to_the_threshold_is_kept() -> None:
    masks = rles([bar(0, 50), bar(0, 100)])
    assert keep_by_mask_iou([0.9, 0.8], masks, 0.5) == [0, 1]
    assert keep_by_mask_iou([0.9, 0.8], masks, 0.499) == [0]


def test_a_dropped_mask_drops_no_other() -> None:
    masks = rles([bar(0, 50), bar(20, 70), bar(40, 90)])  # neighbours overlap by 3/7, the outer two by 1/9
    assert keep_by_mask_iou([0.9, 0.8, 0.7], masks, 0.3) == [0, 2]


def test_equal_scores_keep_the_first() -> None:
    assert keep_by_mask_iou([0.5, 0.5], rles([bar(0, 50), bar(0, 50)]), 0.5) == [0]


def test_empty_masks_overlap_with_nothing() -> None:
    masks = rles([bar(0, 0), bar(0, 0), bar(0, 100)])
    assert keep_by_mask_iou([0.9, 0.8, 0.7], masks, 0.0) == [0, 1, 2]


def test_nothing_to_do() -> None:
    assert keep_by_mask_iou([], [], 0.5) == []


def test_lists_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="2 scores for 1 masks"):
        keep_by_mask_iou([0.5, 0.4], rles([bar(0, 1)]), 0.5)


@settings(max_examples=60)
@given(
    bars=st.lists(
        st.tuples(st.integers(0, 40), st.integers(0, 40), st.sampled_from([0.1, 0.4, 0.5, 0.9])), max_size=25
    ),
    threshold=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
)
def test_is_greedy_by_definition(bars: list[tuple[int, int, float]], threshold: float) -> None:
    masks = [bar(start, start + length) for start, length, _ in bars]
    scores = [score for _, _, score in bars]
    assert keep_by_mask_iou(scores, rles(masks), threshold) == by_definition(scores, masks, threshold)


def test_more_than_a_block() -> None:
    rng = np.random.default_rng(0)
    count = 2 * BLOCK + 7
    starts, scores = rng.integers(0, 90, count), rng.random(count).tolist()
    masks = [bar(int(start), int(start) + 10) for start in starts]
    assert keep_by_mask_iou(scores, rles(masks), 0.6) == by_definition(scores, masks, 0.6)
