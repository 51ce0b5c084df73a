"""The figures of a model: F1, cgF1 and presence accuracy from counts, and AP from pycocotools.

cgF1 is SA-Co's (`sam3.eval.cgf1_eval`, the SAM 3 paper): the F1 over the pairs whose image has the class, the mean of
those at IoU 0.5, 0.55, ... 0.95, times Matthews' correlation coefficient of "the image has the class" over all pairs.
A figure that nothing defines is NaN: cgF1 where every image has the class, or none. SA-Co's code gives 0 there.
"""

from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as masks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from serve_app.evaluate.counting import (
    ABSENT_EMPTY,
    ABSENT_FOUND,
    COLUMNS,
    FOUND,
    FOUND_WHERE_PRESENT,
    HITS,
    PRESENT_FOUND,
    PRESENT_MISSED,
    WANTED,
    Counts,
    as_encoded,
)
from serve_app.label.truth import Truth

MOST_OBJECTS = 100
"""Of one image and class, which AP looks at: COCO's own number."""
Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Figures:
    """Shares of one; NaN where nothing defines one. ap: of masks, the mean over IoU 0.5 to 0.95."""

    ap: float
    f1: float
    cgf1: float
    presence: float


NAMES = {"ap": "AP", "f1": "F1", "cgf1": "cgF1", "presence": "presence"}
"""The figures' names, by the attributes of Figures."""


def f1(counts: Counts) -> Values:
    """F1 at IoU 0.5 of counts [..., COLUMNS]."""
    return _share(2 * counts[..., 0], counts[..., FOUND] + counts[..., WANTED])


def cgf1(counts: Counts) -> Values:
    """See above."""
    at_iou = _share(
        2 * counts[..., HITS], (counts[..., FOUND_WHERE_PRESENT] + counts[..., WANTED])[..., None]
    )
    of_images: Values = at_iou.mean(axis=-1)
    return of_images * correlation(counts)


def correlation(counts: Counts) -> Values:
    """Matthews' correlation coefficient of presence."""
    tp, fp, fn, tn = (
        counts[..., column].astype(np.float64)
        for column in (PRESENT_FOUND, ABSENT_FOUND, PRESENT_MISSED, ABSENT_EMPTY)
    )
    found, empty = tp + fp, fn + tn
    marginals = found * empty * (tp + fn) * (fp + tn)
    value = _share(tp * tn - fp * fn, np.sqrt(marginals))
    # A model that always, or never, finds something tells nothing about presence; the images do have it or not.
    constant = ((found == 0) | (empty == 0)) & (tp + fn > 0) & (fp + tn > 0)
    return np.where(constant, 0.0, value)


def presence(counts: Counts) -> Values:
    """Share of the pairs in which the model finds something just where the image has the class."""
    right = counts[..., PRESENT_FOUND] + counts[..., ABSENT_EMPTY]
    return _share(right, right + counts[..., PRESENT_MISSED] + counts[..., ABSENT_FOUND])


def _share(part: Any, whole: Any) -> Values:
    part, whole = np.broadcast_arrays(np.asarray(part, np.float64), np.asarray(whole, np.float64))
    shares: Values = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    return shares


def figures(counts: Counts, ap: float) -> Figures:
    """The figures of counts [COLUMNS], the sum over any pairs."""
    assert counts.shape == (COLUMNS,)
    return Figures(ap, float(f1(counts)), float(cgf1(counts)), float(presence(counts)))


def average_precision(
    truths: Sequence[Truth], answers: Sequence[Sequence[Mapping[str, Any]]], classes: Sequence[str]
) -> list[float]:
    """AP of masks of each class, from pycocotools; NaN for a class without a true object.

    answers: the objects of each image, as `rows.OBJECT` has them.
    """
    numbers = {name: number for number, name in enumerate(classes, 1)}
    wanted, found = [], []
    for number, (truth, objects) in enumerate(zip(truths, answers, strict=True), 1):
        found += [
            _entry(number, numbers[one["class"]], as_encoded(one, truth), score=one["score"])
            for one in objects
        ]
        for crowd, of_class in enumerate((truth.masks, truth.crowds)):
            for name, rles in of_class.items():
                wanted += [_entry(number, numbers[name], rle, iscrowd=crowd) for rle in rles]
    with redirect_stdout(StringIO()):  # pycocotools tells of its steps
        run = COCOeval(_dataset(truths, classes, wanted), _dataset(truths, classes, found), iouType="segm")
        run.params.areaRng, run.params.areaRngLbl = [[0, 1e10]], ["all"]
        run.params.maxDets = [MOST_OBJECTS]
        run.evaluate()
        run.accumulate()
    precision = run.eval["precision"][:, :, :, 0, 0]  # [IoUs, recalls, classes], -1 without a true object
    return [
        float(of_class.mean()) if (of_class := precision[:, :, place]).min() > -1 else float("nan")
        for place in range(len(classes))
    ]


def _entry(image: int, category: int, rle: Any, **more: Any) -> dict[str, Any]:
    entry = {"image_id": image, "category_id": category, "segmentation": rle, "iscrowd": 0}
    return {**entry, "area": int(masks.area(rle)), "bbox": [0, 0, 0, 0], **more}


def _dataset(truths: Sequence[Truth], classes: Sequence[str], annotations: list[dict[str, Any]]) -> COCO:
    made = COCO()
    made.dataset = {
        "images": [
            {"id": number, "height": truth.size.height, "width": truth.size.width}
            for number, truth in enumerate(truths, 1)
        ],
        "categories": [{"id": number, "name": name} for number, name in enumerate(classes, 1)],
        "annotations": [{"id": number, **one} for number, one in enumerate(annotations, 1)],
    }
    made.createIndex()
    return made
