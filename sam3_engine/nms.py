"""Non-maximum suppression by the overlap of masks, greedy, over all prompts of a request at once."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

from sam3_engine.rle import Rle

BLOCK = 128
"""Candidates compared at once. This bounds the size of the IoU matrix; a larger block parses each RLE fewer
times."""


def keep_by_mask_iou(scores: Sequence[float], rles: Sequence[Rle], iou_threshold: float) -> list[int]:
    """Indices of the instances to keep, highest score first (equal scores: in the order given).

    An instance is dropped when its IoU with a kept one of a higher score is strictly above `iou_threshold`.
    Empty masks overlap with nothing. All masks must belong to the same image. Raises ValueError for lists of
    unequal length.
    """
    if len(scores) != len(rles):
        raise ValueError(f"{len(scores)} scores for {len(rles)} masks")
    order = np.argsort(-np.asarray(scores, dtype=np.float64), kind="stable")
    encoded = [{"size": rle["size"], "counts": rle["counts"].encode("ascii")} for rle in rles]
    kept: list[int] = []
    for start in range(0, len(order), BLOCK):
        block = [int(index) for index in order[start : start + BLOCK]]
        overlapped = _overlaps(encoded, block, kept, iou_threshold)
        block = [index for index, row in zip(block, overlapped, strict=True) if not row.any()]
        kept += _greedy(block, _overlaps(encoded, block, block, iou_threshold))
    return kept


def _greedy(block: list[int], overlaps: npt.NDArray[np.bool_]) -> list[int]:
    dropped = np.zeros(len(block), dtype=np.bool_)
    for position in range(len(block)):
        if not dropped[position]:
            dropped[position + 1 :] |= overlaps[position, position + 1 :]
    return [index for index, is_dropped in zip(block, dropped, strict=True) if not is_dropped]


def _overlaps(
    encoded: Sequence[Mapping[str, object]], first: list[int], second: list[int], iou_threshold: float
) -> npt.NDArray[np.bool_]:
    """The pairs of masks whose IoU is above the threshold: bool [len(first), len(second)]."""
    if not first or not second:
        return np.zeros((len(first), len(second)), dtype=np.bool_)
    iou = coco.iou([encoded[i] for i in first], [encoded[j] for j in second], [0] * len(second))
    return np.asarray(iou) > iou_threshold
