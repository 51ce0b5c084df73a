import json
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

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


def test_a_find_in_a_crowd_counts_neither_way() -> None:
    objects = [
        found("cat", box(0, 10), 0.9),  # the true one, in the crowd, too
        found("cat", box(20, 30), 0.8),  # in the crowd
        found("cat", box(11, 21), 0.7),  # for the most part outside
        found("cat", box(0, 10), 0.6),  # the true one again
    ]
    crowd = np.zeros(SIZE, dtype=np.bool_)
    crowd[:, 0:4] = crowd[:, 19:30] = True
    seen = scored(objects, [encoded(box(0, 10))], SIZE, [encoded(crowd)])
    assert seen.scores.tolist() == pytest.approx([0.9, 0.7, 0.6])
    assert seen.right.tolist() == [True, False, False]
    assert seen.truths == 1


def test_what_counts_near_crowds_is_what_counts_in_cocos_evaluation() -> None:
    rng = np.random.default_rng(0)

    def drawn() -> np.ndarray:
        x0 = int(rng.integers(0, 24))
        mask = box(x0, x0 + int(rng.integers(3, 12)))
        return mask & (
            rng.random(SIZE) < 0.97
        )  # so that no two overlaps are equal, of which COCO takes the last

    for _ in range(40):
        truth, crowds = ([drawn() for _ in range(rng.integers(0, 3))] for _ in range(2))
        objects = [found("cat", drawn(), float(score)) for score in rng.permutation(np.linspace(0.1, 0.9, 6))]
        seen = scored(objects, [encoded(mask) for mask in truth], SIZE, [encoded(mask) for mask in crowds])
        assert (seen.scores.tolist(), seen.right.tolist()) == by_coco(objects, truth, crowds)


def by_coco(
    objects: list[dict[str, Any]], truth: list[np.ndarray], crowds: list[np.ndarray]
) -> tuple[list[float], list[bool]]:
    """Scores and matches of the objects that pycocotools does not ignore, at an IoU of 0.5."""
    marks = [(mask, 0) for mask in truth] + [(mask, 1) for mask in crowds]
    wanted, answered = (
        [
            {"id": number, "image_id": 1, "category_id": 1, "area": 1, "bbox": [0, 0, 0, 0], **one}
            for number, one in enumerate(entries, 1)
        ]
        for entries in (
            [{"segmentation": encoded(mask), "iscrowd": crowd} for mask, crowd in marks],
            [
                {"segmentation": {"size": list(SIZE), "counts": one["rle"].encode()}, "score": one["score"]}
                for one in objects
            ],
        )
    )
    sides = []
    for annotations in (wanted, answered):
        side = COCO()
        side.dataset = {
            "images": [{"id": 1, "height": SIZE[0], "width": SIZE[1]}],
            "categories": [{"id": 1}],
            "annotations": annotations,
        }
        with redirect_stdout(StringIO()):
            side.createIndex()
        sides.append(side)
    with redirect_stdout(StringIO()):
        run = COCOeval(*sides, iouType="segm")
        run.params.iouThrs, run.params.maxDets = np.array([0.5]), [100]
        run.params.areaRng, run.params.areaRngLbl = [[0, 1e10]], ["all"]
        run.evaluate()
    (image,) = run.evalImgs
    kept = ~image["dtIgnore"][0].astype(bool)
    matched = image["dtMatches"][0] > 0
    return list(np.array(image["dtScores"])[kept]), list(matched[kept])


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
        {"annotations": {}},
    ],
)
def test_a_file_without_such_labels_is_refused(tmp_path: Path, changed: dict[str, Any]) -> None:
    with pytest.raises(NoImages, match=r"truth\.json"):
        read_truth(truth_file(tmp_path, **changed), ["cat"])
