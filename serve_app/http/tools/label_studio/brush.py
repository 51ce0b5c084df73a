"""Masks in Label Studio's run lengths (rle-pack): a stream of bits over the mask's pixels, four equal bytes each.

    32 bits   number of bytes that it expands to: width x height x 4 (RGBA)
    5 bits    bits of a value, less one
    4 x 4     bits of a run's length in each of four sizes, less one
    then each run: 1, two bits that choose the size, the length less one, the value (0 or 255)

The format has a second kind of part, for bytes that do not repeat: a mask has none.
"""

import re

import numpy as np
import numpy.typing as npt

VALUE_BITS, CHANNELS, INSIDE = 8, 4, 255
SIZES = np.array([3, 7, 11, 16])
"""Bits of a length. Runs of 16 bits are the longest that the format allows; a longer one is several."""
LONGEST = 1 << 16
_WORD = 32
_BYTES = re.compile(rb'"rle"\s*:\s*\[[\d,\s]*\]')


def brush_rle(mask: npt.NDArray[np.bool_]) -> list[int]:
    """The bytes for a mask [H, W], row by row, as Label Studio's JSON holds them."""
    lengths, values = _runs(mask.ravel())
    sizes = np.searchsorted(1 << SIZES, lengths)
    bits = SIZES[sizes]
    codes = (((1 << 2 | sizes) << bits | lengths - 1) << VALUE_BITS) | values
    widths = 3 + bits + VALUE_BITS
    body = _as_bits(codes << (_WORD - widths))[np.arange(_WORD) < widths[:, None]]
    head = [mask.size * CHANNELS >> shift & 1 for shift in range(31, -1, -1)]
    head += [VALUE_BITS - 1 >> shift & 1 for shift in range(4, -1, -1)]
    head += [int(size) - 1 >> shift & 1 for size in SIZES for shift in range(3, -1, -1)]
    stream = np.packbits(np.concatenate([np.array(head, dtype=np.uint8), body]))
    return [int(byte) for byte in stream]


def without_masks(document: bytes) -> bytes:
    """A JSON document whose brush regions hold no bytes. Label Studio sends those that a task has already with each
    click: as many numbers as a hundred requests."""
    return _BYTES.sub(b'"rle":[]', document)


def _runs(pixels: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Lengths in bytes, none longer than LONGEST, and values of the runs."""
    ends = np.append(np.flatnonzero(pixels[1:] != pixels[:-1]) + 1, pixels.size)
    starts = np.append(0, ends[:-1])
    lengths = (ends - starts).astype(np.int64) * CHANNELS
    values = np.where(pixels[starts], INSIDE, 0).astype(np.int64)
    parts = -(-lengths // LONGEST)
    split = np.full(int(parts.sum()), LONGEST, dtype=np.int64)
    split[np.cumsum(parts) - 1] = lengths - (parts - 1) * LONGEST
    return split, np.repeat(values, parts)


def _as_bits(words: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """[N, 32], the highest bit first."""
    return np.unpackbits(words.astype(">u4").view(np.uint8)).reshape(-1, _WORD)
