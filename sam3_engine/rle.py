"""COCO run-length encoding of masks, made from the mask's region alone.

Runs go down the columns of the whole image (column-major), beginning with a run of zeros that may be empty.
The compressed text is pycocotools' and equal to `pycocotools.mask.encode` of the full mask.
"""

from typing import TypedDict

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

from sam3_engine.regions import RegionMask


class Rle(TypedDict):
    """A mask in COCO's compressed form, ready for JSON. `size` is [height, width]."""

    size: list[int]
    counts: str


def to_rle(mask: RegionMask) -> Rle:
    """Encode a mask from its region, without an array of the whole image."""
    height, width = mask.size
    edges = np.concatenate(([0], _edges(mask), [height * width]))
    counts = np.diff(edges)
    if len(counts) > 1 and counts[-1] == 0:  # the mask holds the very last pixel
        counts = counts[:-1]
    encoded = coco.frPyObjects({"size": [height, width], "counts": counts.astype(np.uint32)}, height, width)
    return Rle(size=[height, width], counts=encoded["counts"].decode("ascii"))


def _edges(mask: RegionMask) -> npt.NDArray[np.int64]:
    """Column-major indices in the whole image at which the mask changes its value, ascending."""
    rows, cols = mask.crop.shape
    if mask.crop.size == 0:
        return np.zeros(0, dtype=np.int64)
    change = np.empty((rows + 1, cols), dtype=np.bool_)
    change[0] = mask.crop[0]
    np.not_equal(mask.crop[1:], mask.crop[:-1], out=change[1:-1])
    change[-1] = mask.crop[-1]
    y, x = np.divmod(np.flatnonzero(change), cols)
    edges = np.sort((mask.x0 + x) * mask.size.height + (mask.y0 + y))
    # A run that reaches the bottom continues at the top of the next column. There the end of one run and the start
    # of the next are the same index, which is no edge.
    same = edges[1:] == edges[:-1]
    joined = np.zeros(len(edges), dtype=np.bool_)
    joined[1:] |= same
    joined[:-1] |= same
    return edges[~joined].astype(np.int64)


def from_rle(rle: Rle) -> npt.NDArray[np.bool_]:
    """Decode to a bool array [height, width]. Raises ValueError when the runs overrun the image."""
    height, width = rle["size"]
    try:
        decoded = coco.decode({"size": [height, width], "counts": rle["counts"].encode("ascii")})
    except ValueError as error:
        raise ValueError(f"not a valid run-length encoding of a {height} x {width} mask") from error
    return np.asarray(decoded, dtype=np.bool_)


def area(rle: Rle) -> int:
    """Number of pixels in the mask."""
    return int(coco.area({"size": rle["size"], "counts": rle["counts"].encode("ascii")}))


def covered(counts: str) -> int:
    """Pixels of all runs, of zeros too: as many as the image has, in a whole encoding. Of others pycocotools decodes
    memory that was never written, or never returns. Raises ValueError for a text that holds no runs."""
    codes = np.frombuffer(counts.encode("ascii"), dtype=np.uint8).astype(np.int64) - 48
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise ValueError("not a run-length encoding")
    ends = np.flatnonzero(codes & 32 == 0)  # a number has five bits in each code, the lowest first
    starts = np.concatenate(([0], ends[:-1] + 1))
    places = np.arange(len(codes)) - np.repeat(starts, ends - starts + 1)
    if places.max() > 6:
        raise ValueError("not a run-length encoding")
    numbers = np.add.reduceat((codes & 31) << 5 * places, starts)
    numbers -= np.where(codes[ends] & 16, 1 << 5 * (ends - starts + 1), 0)
    # From the fourth run on, a number is the difference from the run before the last one.
    runs = np.concatenate((numbers[:1], np.cumsum(numbers[1::2]), np.cumsum(numbers[2::2])))
    if runs.min() < 0:
        raise ValueError("not a run-length encoding")
    return int(runs.sum())
