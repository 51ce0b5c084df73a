"""Counts how an answer agrees with the truth, for each pair of an image and a class.

The pairs and their matches are those of SA-Co's cgF1 (`sam3.eval.cgf1_eval`): objects of at least the threshold's score
are matched with the true ones so that the sum of the IoUs of masks is greatest. Crowd regions are no part of SA-Co: an
object that matches nothing and lies in a crowd is not counted, nor is a pair whose truth is a crowd alone.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from serve_app.label.truth import Encoded, Truth, in_crowds, overlaps

IOUS: Final = np.linspace(0.5, 0.95, 10)
"""The IoUs from which a match counts as a hit."""

HITS = slice(0, len(IOUS))
FOUND, FOUND_WHERE_PRESENT, WANTED, PRESENT_FOUND, ABSENT_FOUND, PRESENT_MISSED, ABSENT_EMPTY = range(
    len(IOUS), len(IOUS) + 7
)
COLUMNS: Final = len(IOUS) + 7
"""The columns of counts. HITS: matches at each of IOUS. FOUND: objects that the model found; FOUND_WHERE_PRESENT: of
pairs whose image has the class. WANTED: true objects. The rest counts pairs: whether the image has the class (PRESENT,
ABSENT), and whether the model found something."""

Counts = npt.NDArray[np.int64]


def count(objects: Sequence[Mapping[str, Any]], truth: Truth, name: str, threshold: float) -> Counts:
    """The counts of one image and class, int64 [COLUMNS]. objects: the image's, as `rows.OBJECT` has them."""
    counts = np.zeros(COLUMNS, dtype=np.int64)
    wanted, crowds = list(truth.masks[name]), list(truth.crowds.get(name, ()))
    if crowds and not wanted:
        return counts
    found = [as_encoded(one, truth) for one in objects if one["class"] == name and one["score"] >= threshold]
    ious = overlaps(found, wanted)
    matched = _matches(ious)
    if crowds:
        taken = {row for row, column in matched if ious[row, column] >= IOUS[0]}
        inside = in_crowds(found, crowds)
        dropped = sum(bool(inside[row]) and row not in taken for row in range(len(found)))
    else:
        dropped = 0
    hits = np.array([ious[row, column] for row, column in matched], dtype=np.float64)
    counts[HITS] = (hits[:, None] >= IOUS).sum(axis=0)
    counts[FOUND] = len(found) - dropped
    counts[WANTED] = len(wanted)
    if wanted:
        counts[FOUND_WHERE_PRESENT] = counts[FOUND]
        counts[PRESENT_FOUND if counts[FOUND] else PRESENT_MISSED] = 1
    else:
        counts[ABSENT_FOUND if counts[FOUND] else ABSENT_EMPTY] = 1
    return counts


def as_encoded(one: Mapping[str, Any], truth: Truth) -> Encoded:
    """The mask of an object of `rows.OBJECT`, as pycocotools takes it."""
    return {"size": list(truth.size), "counts": one["rle"].encode("ascii")}


def _matches(ious: npt.NDArray[np.float64]) -> list[tuple[int, int]]:
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(-ious)
    return list(zip(rows.tolist(), columns.tolist(), strict=True))
