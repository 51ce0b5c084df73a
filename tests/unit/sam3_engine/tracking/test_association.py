"""Which detection is which object, on masks made by hand."""

import numpy as np
import numpy.typing as npt
import pytest

from sam3_engine.tracking.association import COVERED, SAME_IOU, associate, iou

Masks = npt.NDArray[np.bool_]
NOTHING = slice(0, 0)


def masks(*spans: slice) -> Masks:
    """Masks on a line of 100 cells, each the cells of a slice."""
    made = np.zeros((len(spans), 100), dtype=np.bool_)
    for row, span in zip(made, spans, strict=True):
        row[span] = True
    return made


def test_iou_of_masks() -> None:
    found = iou(masks(slice(0, 10), NOTHING), masks(slice(5, 15), slice(0, 10), NOTHING))
    assert found.tolist() == [[pytest.approx(1 / 3), 1, 0], [0, 0, 0]]


def test_detections_of_known_objects_are_no_new_ones() -> None:
    objects = masks(slice(0, 20), slice(50, 70))
    found = associate(objects, objects, masks(slice(51, 71), slice(1, 21)), [0.9, 0.6])
    assert found.matches == {0: 1, 1: 0}
    assert found.new == []


def test_a_detection_elsewhere_is_a_new_object() -> None:
    objects = masks(slice(0, 20))
    found = associate(objects, objects, masks(slice(80, 90), slice(0, 20)), [0.9, 0.8])
    assert (found.matches, found.new) == ({0: 1}, [0])


def test_new_objects_come_in_the_order_of_scores() -> None:
    found = associate(masks(), masks(), masks(slice(0, 9), slice(20, 29), slice(40, 49)), [0.5, 0.9, 0.7])
    assert found.new == [1, 2, 0]


def test_the_best_pair_wins_where_two_objects_overlap_one_detection() -> None:
    objects = masks(slice(0, 20), slice(4, 24))
    found = associate(objects, objects, masks(slice(5, 25)), [0.9])
    assert found.matches == {1: 0}


def test_a_part_of_an_object_is_nothing_new() -> None:
    """As where a bar hides the middle of an object, and the detector finds its halves."""
    objects = masks(slice(0, 40))
    found = associate(objects, objects, masks(slice(0, 15), slice(25, 40)), [0.9, 0.9])
    assert (found.matches, found.new) == ({}, [])


def test_two_detections_of_one_new_thing_make_one_object() -> None:
    found = associate(masks(), masks(), masks(slice(0, 20), slice(2, 22)), [0.8, 0.9])
    assert found.new == [1]


def test_a_second_detection_of_a_matched_object_makes_no_object() -> None:
    """The object has moved out of its mask: the detection that matched tells where it is."""
    objects = masks(slice(0, 20))
    found = associate(objects, objects, masks(slice(5, 25), slice(12, 30)), [0.9, 0.8])
    assert (found.matches, found.new) == ({0: 0}, [])


def test_a_hidden_object_is_found_where_it_was_seen_last() -> None:
    found = associate(masks(NOTHING), masks(slice(0, 20)), masks(slice(2, 22)), [0.9])
    assert (found.matches, found.new) == ({0: 0}, [])


def test_an_object_in_the_frame_has_precedence_over_a_hidden_one() -> None:
    found = associate(
        masks(NOTHING, slice(4, 24)), masks(slice(0, 20), slice(4, 24)), masks(slice(1, 21)), [0.9]
    )
    assert found.matches == {1: 0}


def test_an_object_that_is_not_the_concepts_is_nothing_new() -> None:
    clicked = masks(slice(0, 22))
    assert associate(masks(), masks(), masks(slice(0, 20)), [0.9], clicked).new == []
    # A small thing within a clicked one is another thing.
    assert associate(masks(), masks(), masks(slice(0, 5)), [0.9], clicked).new == [0]


def test_a_detection_without_a_cell_is_nothing() -> None:
    found = associate(masks(slice(0, 20)), masks(slice(0, 20)), masks(NOTHING), [0.9])
    assert (found.matches, found.new) == ({}, [])


@pytest.mark.parametrize("count", [0, 3])
def test_no_detections_and_no_objects_are_fine(count: int) -> None:
    some = masks(*[slice(10 * row, 10 * row + 5) for row in range(count)])
    assert associate(some, some, masks(), []).matches == {}
    assert len(associate(masks(), masks(), some, [0.5] * count).new) == count


def test_every_detection_and_object_has_at_most_one_partner() -> None:
    rng = np.random.default_rng(3)
    for _ in range(200):
        objects, detections = (rng.random((rng.integers(0, 6), 12)) < 0.5 for _ in range(2))
        scores = rng.random(len(detections)).tolist()
        found = associate(objects, objects, detections, scores)
        partners = list(found.matches.values())
        assert len(set(partners)) == len(partners)
        assert not set(partners) & set(found.new)
        assert all(iou(objects, detections)[pair] >= SAME_IOU for pair in found.matches.items())
        for row in found.new:
            covered = objects.astype(np.float32) @ detections[row]
            assert not (covered >= COVERED * detections[row].sum()).any()
