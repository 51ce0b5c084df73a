"""Chooses the threshold of each class by images that a person has labelled: the one with the best F1.

An object counts as found where its mask and one of the truth's, of its class, overlap by an IoU of at least MATCH; each
is matched once, better scores first. An object that matches nothing and lies in a crowd region (`iscrowd`) counts
neither way, and a crowd is no object to find: as in COCO's own evaluation. How sure a threshold is follows from drawing
the images again and again, with repetition (the bootstrap): nine of ten draws choose a threshold within the range that
is told.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from serve_app.label.classes import FLOOR
from serve_app.label.truth import Encoded, Truth, in_crowds, overlaps, unfit

MATCH = 0.5
DRAWS = 200
RANGE = (5, 95)
"""Percentiles."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The threshold of a class. f1: at it; NaN where there is nothing to choose by. low, high: see above. objects: of
    the truth."""

    threshold: float
    f1: float
    low: float
    high: float
    objects: int

    @property
    def known(self) -> bool:
        """Whether there was anything to choose by."""
        return not np.isnan(self.f1)


@dataclass(frozen=True, slots=True)
class Scored:
    """One image's objects of one class: their scores and which are right, best first; and how many there truly are."""

    scores: npt.NDArray[np.float64]
    right: npt.NDArray[np.bool_]
    truths: int


def scored(
    found: Sequence[Mapping[str, Any]],
    truth: Sequence[Encoded],
    size: Sequence[int],
    crowds: Sequence[Encoded] = (),
) -> Scored:
    """Match what was found, as `rows.OBJECT`, with the truth of one class. size: (height, width)."""
    ordered = sorted(found, key=lambda one: -float(one["score"]))
    mine = [{"size": list(size), "counts": one["rle"].encode("ascii")} for one in ordered]
    right = np.zeros(len(mine), dtype=np.bool_)
    overlap = overlaps(mine, truth)
    for row in range(len(mine) if truth else 0):
        best = int(overlap[row].argmax())
        if overlap[row, best] >= MATCH:
            right[row] = True
            overlap[:, best] = -1
    counts = right | ~in_crowds(mine, crowds)
    scores = np.array([one["score"] for one in ordered], dtype=np.float64)
    return Scored(scores[counts], right[counts], len(truth))


def choose(images: Sequence[Scored], seed: int = 0) -> Choice:
    """The threshold of one class. The middle between the last score that is kept and the next one: neither score is
    at the edge."""
    truths = sum(image.truths for image in images)
    best, f1 = _best(images) if truths else (float("nan"), float("nan"))
    if np.isnan(f1):
        return Choice(float("nan"), float("nan"), float("nan"), float("nan"), truths)
    rng = np.random.default_rng(seed)
    drawn = [
        _best([images[index] for index in rng.integers(0, len(images), len(images))])[0] for _ in range(DRAWS)
    ]
    low, high = np.nanpercentile([best, *drawn], RANGE)
    return Choice(best, f1, float(low), float(high), truths)


def _best(images: Sequence[Scored]) -> tuple[float, float]:
    """Threshold and F1; NaN where nothing right was found."""
    scores = np.concatenate([image.scores for image in images])
    right = np.concatenate([image.right for image in images])
    truths = sum(image.truths for image in images)
    if not right.any():
        return float("nan"), float("nan")
    order = np.argsort(-scores, kind="stable")
    scores, hits = scores[order], np.cumsum(right[order])
    f1 = 2 * hits / (np.arange(1, len(scores) + 1) + truths)
    last = np.append(scores[1:] < scores[:-1], True)  # of equal scores a threshold keeps all
    at = int(np.where(last, f1, -1).argmax())
    below = scores[at + 1] if at + 1 < len(scores) else FLOOR
    return float((scores[at] + min(below, scores[at])) / 2), float(f1[at])


def choices(
    rows: Iterable[Mapping[str, Any]], truths: Sequence[Truth], classes: Sequence[str]
) -> dict[str, Choice]:
    """The threshold of each class. rows: of `rows.LABELLED`, labelled with FLOOR for every class. An image that is
    `unfit` is left out."""
    truth_of = {truth.image.location: truth for truth in truths}
    images: dict[str, list[Scored]] = {name: [] for name in classes}
    for row in rows:
        truth = truth_of.get(row["location"])
        if truth is None or unfit(truth, row) is not None:
            continue
        size = (row["height"], row["width"])
        for name in classes:
            mine = [one for one in row["objects"] if one["class"] == name]
            images[name].append(scored(mine, truth.masks[name], size, truth.crowds.get(name, ())))
    return {name: choose(of_class) if of_class else choose([]) for name, of_class in images.items()}
