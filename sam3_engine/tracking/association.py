"""Which detection is which object, by the overlap of masks. Pure functions on masks, bool [n, cells] each.

The rules, for the objects and detections of one concept:

1. Detections and the objects in the frame form pairs, the pair with the greatest IoU first; a pair needs SAME_IOU.
2. The remaining detections and the remaining objects, hidden ones too, form pairs in the same way, by where each object
   was seen last before this frame.
3. Detections that are the same as another object by SAME_IOU, such as a clicked one, are left out.
4. Of the detections that remain, the ones with the highest scores first, one is a new object unless an object in the
   frame, or a new one, covers COVERED of it: then it is a part of that object.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SAME_IOU = 0.5
"""Least IoU of an object's mask and a detection that shows the same object."""
COVERED = 0.5
"""Share of a detection that lies within an object from which it shows nothing new."""

Masks = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Association:
    """matches: the detection of each object that has one, by index. new: detections of new objects."""

    matches: dict[int, int]
    new: list[int]


def associate(
    present: Masks,
    last_seen: Masks,
    detections: Masks,
    scores: Sequence[float],
    strangers: Masks | None = None,
) -> Association:
    """Pair N objects with M detections.

    present: [N, cells], each object's mask in this frame, without a cell where it is hidden. last_seen: [N, cells], its
    mask where it was seen last before. detections: [M, cells]; scores: of each. strangers: masks of objects that this
    concept may not change, such as clicked ones.
    """
    matches = _pairs(np.arange(len(present)), np.arange(len(detections)), present, detections)
    objects, free = (
        np.array([row for row in range(count) if row not in used], dtype=np.intp)
        for count, used in ((len(present), set(matches)), (len(detections), set(matches.values())))
    )
    matches |= _pairs(objects, free, last_seen, detections)
    taken = set(matches.values())
    if strangers is not None and len(strangers) and len(detections):
        taken |= set(np.flatnonzero((iou(strangers, detections) >= SAME_IOU).any(axis=0)).tolist())
    known = np.concatenate([present, detections[sorted(taken)]])
    new: list[int] = []
    for row in sorted(set(range(len(detections))) - taken, key=lambda one: -scores[one]):
        mask = detections[row]
        area = int(mask.sum())
        if area and not (known @ mask.astype(np.float32) >= COVERED * area).any():
            new.append(row)
            known = np.concatenate([known, mask[None]])
    return Association(matches, new)


def iou(first: Masks, second: Masks) -> npt.NDArray[np.float32]:
    """The IoU of every pair, [N, M]; zero for masks without a cell."""
    a, b = first.astype(np.float32), second.astype(np.float32)
    common = a @ b.T
    union = a.sum(axis=1)[:, None] + b.sum(axis=1)[None] - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)


def _pairs(
    rows: npt.NDArray[np.intp], columns: npt.NDArray[np.intp], objects: Masks, detections: Masks
) -> dict[int, int]:
    if not len(rows) or not len(columns):
        return {}
    overlap = iou(objects[rows], detections[columns])
    pairs: dict[int, int] = {}
    while overlap.max() >= SAME_IOU:
        row, column = np.unravel_index(overlap.argmax(), overlap.shape)
        pairs[int(rows[row])] = int(columns[column])
        overlap[row] = overlap[:, column] = 0
    return pairs
