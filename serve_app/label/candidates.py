"""Candidates on their way from the model to the CPU: the part of a map of mask logits around an object.

A mask follows from the cells above zero and their neighbours alone (`sam3_engine.regions`), so the mask of the part is
that of the whole map, at a fraction of its bytes.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from sam3_engine.regions import RegionMask, mask_of_array
from sam3_engine.types import ImageSize

OUTSIDE = np.float32(-1.0)
"""Any number below zero."""


def cut(logits: npt.NDArray[np.float32]) -> dict[str, Any] | None:
    """The fields of `rows.CANDIDATE` for logits [c, c]; None for an empty mask."""
    rows, columns = (np.flatnonzero((logits > 0).any(axis=axis)) for axis in (1, 0))
    if rows.size == 0:
        return None
    top, left = max(0, int(rows[0]) - 1), max(0, int(columns[0]) - 1)
    part = logits[top : int(rows[-1]) + 2, left : int(columns[-1]) + 2]
    return {
        "cells": logits.shape[0],
        "top": top,
        "left": left,
        "columns": part.shape[1],
        "logits": np.ascontiguousarray(part).tobytes(),
    }


def mask_of(candidate: dict[str, Any], size: ImageSize) -> RegionMask:
    """The mask of a candidate, in the pixels of its image."""
    cells, columns = candidate["cells"], candidate["columns"]
    part = np.frombuffer(candidate["logits"], dtype=np.float32).reshape(-1, columns)
    logits = np.full((cells, cells), OUTSIDE, dtype=np.float32)
    top, left = candidate["top"], candidate["left"]
    logits[top : top + part.shape[0], left : left + columns] = part
    return mask_of_array(logits, size)
