"""Counts by hand, and figures against those of SA-Co's own code and of pycocotools."""

from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from itertools import pairwise
from math import isnan
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sam3_engine.types import ImageSize
from serve_app.evaluate.counting import (
    ABSENT_EMPTY,
    ABSENT_FOUND,
    FOUND,
    FOUND_WHERE_PRESENT,
    HITS,
    PRESENT_FOUND,
    PRESENT_MISSED,
    WANTED,
    Counts,
    count,
)
from serve_app.evaluate.figures import average_precision, cgf1, correlation, f1, figures, presence
from serve_app.label.lists import SourceImage
from serve_app.label.truth import Truth
from tests.support.labels import found

# pycocotools with numpy 2.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)
SIZE = ImageSize(20, 40)
Pixels = np.ndarray


def bar(x0: int, x1: int) -> Pixels:
    mask = np.zeros(SIZE, dtype=np.bool_)
    mask[5:15, x0:x1] = True
    return mask


def rle(mask: Pixels) -> dict[str, Any]:
    made: dict[str, Any] = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    return made


def truth(*cats: Pixels, crowds: Sequence[Pixels] = (), location: str = "/a.png") -> Truth:
    masks = {"cat": [rle(one) for one in cats]}
    regions = {"cat": [rle(one) for one in crowds]} if crowds else {}
    return Truth(SourceImage(location, "a.png"), masks, regions, SIZE)


def counted(objects: Sequence[dict[str, Any]], of: Truth) -> Counts:
    return count(objects, of, "cat", 0.5)


def test_an_object_is_a_hit_up_to_its_iou() -> None:
    counts = counted([found("cat", bar(0, 8))], truth(bar(0, 10)))  # IoU 0.8
    assert counts[HITS].tolist() == [1] * 7 + [0] * 3
    assert (counts[FOUND], counts[WANTED], counts[PRESENT_FOUND]) == (1, 1, 1)


def test_objects_below_the_threshold_or_of_another_class_are_not_counted() -> None:
    counts = counted([found("cat", bar(0, 8), 0.49), found("cow", bar(0, 8))], truth(bar(0, 10)))
    assert (counts[FOUND], counts[PRESENT_MISSED]) == (0, 1)


def test_each_object_is_matched_once() -> None:
    counts = counted([found("cat", bar(0, 10)), found("cat", bar(0, 9))], truth(bar(0, 10)))
    assert (counts[0], counts[FOUND]) == (1, 2)


def test_pairs_are_chosen_for_the_greatest_sum() -> None:
    """The first object has its greatest IoU with the only true one that the second has any with."""
    objects = [found("cat", bar(5, 15)), found("cat", bar(10, 20))]
    assert counted(objects, truth(bar(0, 15), bar(6, 16)))[0] == 1
    assert counted(objects, truth(bar(4, 13), bar(6, 16)))[0] == 1


@pytest.mark.parametrize(
    ("objects", "column"), [([], ABSENT_EMPTY), ([found("cat", bar(0, 8))], ABSENT_FOUND)]
)
def test_an_image_without_the_class(objects: list[dict[str, Any]], column: int) -> None:
    counts = counted(objects, truth())
    assert counts[column] == 1
    assert counts[FOUND] == len(objects)
    assert counts[FOUND_WHERE_PRESENT] == 0


def test_objects_in_a_crowd_count_neither_way() -> None:
    of = truth(bar(0, 10), crowds=[bar(20, 40)])
    counts = counted([found("cat", bar(0, 10)), found("cat", bar(22, 26)), found("cat", bar(12, 22))], of)
    assert (counts[0], counts[FOUND]) == (1, 2), "the one that is mostly outside counts"
    assert counted([found("cat", bar(22, 26))], truth(crowds=[bar(20, 40)])).sum() == 0


def test_figures_by_hand() -> None:
    """Two images with the class, of which one is missed; two without, in one of which something is found."""
    counts = (
        counted([found("cat", bar(0, 10)), found("cat", bar(20, 26))], truth(bar(0, 10)))
        + counted([], truth(bar(0, 10), bar(20, 30)))
        + counted([found("cat", bar(0, 8))], truth())
        + counted([], truth())
    )
    told = figures(counts, 0.25)
    assert told.f1 == pytest.approx(2 * 1 / (3 + 3))
    assert told.presence == 0.5
    assert told.cgf1 == pytest.approx(0.0), "presence is right as often as by chance"
    counts += counted([found("cat", bar(0, 10))], truth(bar(0, 10))) * 2
    # TP 3, FP 1, FN 1, TN 1: (3 - 1) / sqrt(4 * 4 * 2 * 2)
    assert float(correlation(counts)) == pytest.approx(2 / 8)
    # 3 hits at every IoU; 4 found where the class is, 5 wanted.
    assert float(cgf1(counts)) == pytest.approx(6 / 9 * 2 / 8)


def test_a_figure_that_nothing_defines_is_nan() -> None:
    always = counted([found("cat", bar(0, 10))], truth(bar(0, 10)))
    assert (float(f1(always)), float(presence(always))) == (1.0, 1.0)
    assert isnan(float(cgf1(always))), "every image has the class"
    never = counted([], truth())
    assert isnan(float(f1(never)))
    assert isnan(float(cgf1(never)))
    constant = always + counted([found("cat", bar(0, 10))], truth())
    assert float(cgf1(constant)) == 0.0, "a model that always finds something knows nothing of presence"
    assert isnan(float(presence(np.zeros_like(always))))


def some_images(seed: int, images: int = 14) -> tuple[list[Truth], list[list[dict[str, Any]]]]:
    """Images with up to three true bars, which are found in part, moved, or not there at all."""
    rng = np.random.default_rng(seed)
    truths, answers = [], []
    for number in range(images):
        edges = sorted(rng.choice(40, 2 * rng.integers(0, 4), replace=False).tolist())
        bars = [bar(start, end) for start, end in pairwise(edges)][::2]
        answer = [
            found("cat", np.roll(one, int(rng.integers(-2, 3)), axis=1), float(rng.uniform(0.3, 1)))
            for one in bars
            if rng.random() < 0.7
        ]
        if rng.random() < 0.4:
            start = int(rng.integers(0, 35))
            answer.append(found("cat", bar(start, start + 4), float(rng.uniform(0.3, 1))))
        truths.append(truth(*bars, location=f"/{number}.png"))
        answers.append(answer)
    return truths, answers


def as_coco(truths: list[Truth], answers: list[list[dict[str, Any]]]) -> tuple[COCO, COCO]:
    """The same as pycocotools reads it from files."""
    wanted: COCO = COCO()
    wanted.dataset = {
        "images": [{"id": n, "height": SIZE.height, "width": SIZE.width} for n in range(len(truths))],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [],
    }
    for number, one in enumerate(truths):
        for mask in one.masks["cat"]:
            wanted.dataset["annotations"].append(
                {
                    "id": len(wanted.dataset["annotations"]) + 1,
                    "image_id": number,
                    "category_id": 1,
                    "segmentation": mask,
                    "area": int(coco.area(mask)),
                    "bbox": coco.toBbox(mask).tolist(),
                    "iscrowd": 0,
                }
            )
    results = [
        {
            "image_id": number,
            "category_id": 1,
            "segmentation": {"size": list(SIZE), "counts": one["rle"]},
            "score": one["score"],
        }
        for number, answer in enumerate(answers)
        for one in answer
    ]
    with redirect_stdout(StringIO()):
        wanted.createIndex()
        return wanted, wanted.loadRes(results)


@pytest.mark.parametrize("seed", range(4))
def test_cgf1_and_f1_are_those_of_sa_cos_own_code(seed: int) -> None:
    from sam3.eval.cgf1_eval import CGF1Eval, _evaluate

    truths, answers = some_images(seed)
    theirs = CGF1Eval(*as_coco(truths, answers), "segm", threshold=0.5)
    _, per_image = _evaluate(theirs)
    theirs.evalImgs = list(per_image.flatten())
    theirs.accumulate()
    counts = sum((counted(*each) for each in zip(answers, truths, strict=True)), start=np.zeros(17, int))
    # Their sums have small numbers added, against division by zero.
    assert float(cgf1(counts)) == pytest.approx(theirs.eval["cgF1"].mean(), abs=1e-3)
    assert float(correlation(counts)) == pytest.approx(theirs.eval["IL_MCC"], abs=1e-5)
    assert float(f1(counts)) == pytest.approx(theirs.eval["F1"][0], abs=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_ap_is_that_of_pycocotools(seed: int) -> None:
    truths, answers = some_images(seed)
    theirs = COCOeval(*as_coco(truths, answers), "segm")
    with redirect_stdout(StringIO()):
        theirs.evaluate()
        theirs.accumulate()
        theirs.summarize()
    assert average_precision(truths, answers, ["cat"]) == [pytest.approx(theirs.stats[0])]


def test_ap_by_hand() -> None:
    """Of two true objects, one is found; before it stands a wrong one: precision 1/2 up to recall 1/2, then 0."""
    objects = [found("cat", bar(20, 30), 0.9), found("cat", bar(0, 10), 0.8)]
    ap = average_precision([truth(bar(0, 10), bar(12, 18))], [objects], ["cat"])[0]
    assert ap == pytest.approx(0.5 * 51 / 101)


def test_ap_of_a_class_without_objects_or_answers() -> None:
    (of_none,) = average_precision([truth()], [[found("cat", bar(0, 9))]], ["cat"])
    assert isnan(of_none)
    assert average_precision([truth(bar(0, 9))], [[]], ["cat"]) == [0.0]


def test_ap_passes_over_objects_in_a_crowd() -> None:
    of = truth(bar(0, 10), crowds=[bar(20, 40)])
    objects = [found("cat", bar(22, 26), 0.9), found("cat", bar(0, 10), 0.8)]
    assert average_precision([of], [objects], ["cat"]) == [pytest.approx(1.0)]
