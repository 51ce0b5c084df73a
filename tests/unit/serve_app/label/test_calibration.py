import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco

from serve_app.label.calibration import Scored, choices, choose, scored
from serve_app.label.lists import NoImages
from serve_app.label.truth import read_truth, unfit
from tests.support.labels import found, row, table

# pycocotools with numpy 2.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)
SIZE = (20, 30)


def box(x0: int, x1: int) -> np.ndarray:
    mask = np.zeros(SIZE, dtype=np.bool_)
    mask[5:15, x0:x1] = True
    return mask


def encoded(mask: np.ndarray) -> dict[str, Any]:
    made: dict[str, Any] = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    return made


def one(scores: list[float], right: list[bool], truths: int) -> Scored:
    return Scored(np.array(scores), np.array(right, dtype=bool), truths)


def test_each_true_object_is_matched_once_by_the_better_score() -> None:
    objects = [found("cat", box(0, 10), 0.6), found("cat", box(0, 9), 0.9), found("cat", box(20, 30), 0.8)]
    seen = scored(objects, [encoded(box(0, 10))], SIZE)
    assert seen.scores.tolist() == pytest.approx([0.9, 0.8, 0.6])
    assert seen.right.tolist() == [True, False, False]
    assert seen.truths == 1


def test_too_little_overlap_is_no_match() -> None:
    assert not scored([found("cat", box(0, 10))], [encoded(box(6, 16))], SIZE).right.any()


def test_the_best_threshold_parts_right_from_wrong() -> None:
    images = [one([0.9, 0.7, 0.4, 0.3], [True, True, False, False], 2)] * 5
    choice = choose(images)
    assert 0.4 < choice.threshold < 0.7
    assert choice.f1 == pytest.approx(1.0)
    assert choice.low == choice.high == choice.threshold
    assert choice.objects == 10
    assert choice.known


def test_equal_scores_are_kept_or_left_out_together() -> None:
    choice = choose([one([0.5, 0.5, 0.5], [True, False, False], 1)])
    assert choice.threshold < 0.5
    assert choice.f1 == pytest.approx(0.5)


def test_objects_that_were_not_found_count_against_every_threshold() -> None:
    assert choose([one([0.9], [True], 3)]).f1 == pytest.approx(0.5)


def test_images_that_disagree_make_a_wide_range() -> None:
    images = [one([0.9, 0.2], [True, True], 2), one([0.9, 0.3], [True, False], 1)] * 3
    choice = choose(images)
    assert choice.low < choice.high
    assert choice.low <= choice.threshold <= choice.high


@pytest.mark.parametrize("images", [[], [one([], [], 2)], [one([0.9], [False], 1)], [one([0.9], [False], 0)]])
def test_without_a_match_there_is_nothing_to_choose_by(images: list[Scored]) -> None:
    assert not choose(images).known


def truth_file(folder: Path, **changed: Any) -> Path:
    document = {
        "images": [{"id": 7, "file_name": "a.png", "height": 20, "width": 30}],
        "categories": [{"id": 3, "name": "cat"}, {"id": 5, "name": "cow"}],
        "annotations": [
            {
                "id": 1,
                "image_id": 7,
                "category_id": 3,
                "segmentation": [[0, 5, 10, 5, 10, 15, 0, 15]],
                "iscrowd": 0,
            },
            {"id": 2, "image_id": 7, "category_id": 5, "segmentation": [[0, 0, 9, 0, 9, 9]], "iscrowd": 0},
            {
                "id": 3,
                "image_id": 7,
                "category_id": 3,
                "segmentation": {"size": [20, 30], "counts": [600]},
                "iscrowd": 1,
            },
        ],
        **changed,
    }
    path = folder / "truth.json"
    path.write_text(json.dumps(document))
    return path


def test_thresholds_follow_from_a_coco_file(tmp_path: Path) -> None:
    truths = read_truth(truth_file(tmp_path), ["cat", "dog"])
    assert [len(masks) for masks in truths[0].masks.values()] == [1, 0]
    location = str(tmp_path / "a.png")
    seen = row(location, [found("cat", box(0, 10), 0.75), found("cat", box(20, 30), 0.25)], size=SIZE)
    found_choices = choices(table(seen, row("/other.png", size=SIZE)).to_pylist(), truths, ["cat", "dog"])
    assert 0.25 < found_choices["cat"].threshold < 0.75
    assert found_choices["cat"].f1 == pytest.approx(1.0)
    assert not found_choices["dog"].known


def test_an_image_that_could_not_be_read_says_nothing(tmp_path: Path) -> None:
    truths = read_truth(truth_file(tmp_path), ["cat"])
    assert not choices([row(str(tmp_path / "a.png"), error="gone")], truths, ["cat"])["cat"].known


def test_an_image_of_another_size_than_its_truth_is_left_out(tmp_path: Path) -> None:
    """Such as a photo that was labelled before it was turned upright: its masks are of other pixels."""
    truths = read_truth(truth_file(tmp_path), ["cat"])
    turned = row(str(tmp_path / "a.png"), [found("cat", box(0, 10).T)], size=(30, 20))
    (answer,) = table(turned).to_pylist()
    assert unfit(truths[0], answer) == "it has 20 x 30 pixels, and 30 x 20 in the ground truth"
    assert choices([answer], truths, ["cat"])["cat"].objects == 0


@pytest.mark.parametrize(
    "changed",
    [
        {"categories": [{"id": 3, "name": "horse"}]},
        {"images": "none"},
        {"annotations": [{"id": 1}]},
        {"categories": [{"id": 3}]},
    ],
)
def test_a_file_without_such_labels_is_refused(tmp_path: Path, changed: dict[str, Any]) -> None:
    with pytest.raises(NoImages, match=r"truth\.json"):
        read_truth(truth_file(tmp_path, **changed), ["cat"])
