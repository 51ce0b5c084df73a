"""Reads a TIFF picture a few rows at a time: each time as a file that has only the strips, or tiles, of these rows."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from sam3_engine.formats.directories import Directory
from sam3_engine.formats.opencv import Values, read
from sam3_engine.formats.tiff import (
    BITS,
    COMPRESSION,
    EXTRA,
    LENGTH,
    PHOTOMETRIC,
    PLANAR,
    ROWS,
    SAMPLE_FORMAT,
    SAMPLES,
    STRIP_BYTES,
    STRIPS,
    TILE_BYTES,
    TILE_LENGTH,
    TILE_WIDTH,
    TILES,
    WIDTH,
    Layout,
)

GROUP_BYTES = 2**22
"""Bytes of pixels that are decoded at once, or the bytes of one strip or row of tiles if they are more."""
_FILL_ORDER, _PREDICTOR, _TABLES = 266, 317, 347
_KEPT = (
    WIDTH,
    BITS,
    COMPRESSION,
    PHOTOMETRIC,
    _FILL_ORDER,
    SAMPLES,
    PLANAR,
    _PREDICTOR,
    TILE_WIDTH,
    TILE_LENGTH,
    EXTRA,
    SAMPLE_FORMAT,
    _TABLES,
)
"""Tags that say how values are written; orientation is not among them."""
_SHORT, _LONG, _CLASSIC = 3, 4, range(1, 14)
_UNSIGNED, _SIGNED, _FLOAT = 1, 2, 3
_WHITE_IS_ZERO, _BLACK_IS_ZERO = 0, 1


def row_bytes(found: Layout) -> int:
    """Bytes of one row of strips or tiles, decoded."""
    return found.block_bytes * found.across * found.planes


def cut(found: Layout) -> Layout:
    """The same picture in strips of at most about GROUP_BYTES, where they are not compressed."""
    line = -(-found.width * found.bits // 8)
    rows = max(1, GROUP_BYTES // (line * found.planes))
    if found.compressed or found.tiled or rows >= found.block_height:
        return found
    offsets, lengths = [], []
    for number, offset in enumerate(found.offsets):
        top = number % found.down * found.block_height
        height = min(found.block_height, found.height - top)
        for row in range(0, height, rows):
            offsets.append(offset + row * line)
            lengths.append(min(rows, height - row) * line)
    # Strips are of one height, but for the last one: so each has to be cut without a rest.
    if found.down > 1 and found.block_height % rows:
        return found
    return replace(found, block_height=rows, offsets=offsets, lengths=lengths)


def strips(content: bytes, directory: Directory, found: Layout) -> Iterator[Values]:
    """The rows from above as they are stored, not turned upright. Raises ValueError where they cannot be read."""
    if len(found.offsets) != found.across * found.down * found.planes or len(found.lengths) != len(
        found.offsets
    ):
        raise ValueError("the picture lacks strips")
    group = max(1, GROUP_BYTES // row_bytes(found))
    for first in range(0, found.down, group):
        last = min(first + group, found.down)
        rows = min(last * found.block_height, found.height) - first * found.block_height
        planes = []
        for plane in range(found.planes):  # one by one: OpenCV takes all of them for the first one's pixels
            start = plane * found.across * found.down
            numbers = range(start + first * found.across, start + last * found.across)
            blocks = [content[found.offsets[n] : found.offsets[n] + found.lengths[n]] for n in numbers]
            values = read(_file(directory, found, rows, blocks), found.sample_bits)
            if values is None or values.shape[:2] != (rows, found.width):
                raise ValueError("a strip cannot be read")
            planes.append(values if (dtype := integers(directory, found)) is None else values.view(dtype))
        yield np.stack(planes, axis=2) if found.planes > 1 else planes[0]


def integers(directory: Directory, found: Layout) -> str | None:
    """The dtype of whole numbers that OpenCV does not read, or not in every byte order: they are copied as floats."""
    (kind, *others) = set(directory.numbers(SAMPLE_FORMAT, (_UNSIGNED,)))
    if others or kind not in (_UNSIGNED, _SIGNED) or found.sample_bits not in (8, 32, 64):
        return None
    if found.sample_bits == 8:
        return "i1" if kind == _SIGNED else None
    return f"{'u' if kind == _UNSIGNED else 'i'}{found.sample_bits // 8}"


def _file(directory: Directory, found: Layout, rows: int, blocks: list[bytes]) -> bytes:
    """A TIFF file of the blocks alone."""
    order = directory.order
    tags: dict[int, tuple[int, int, bytes]] = {}
    for tag in _KEPT:
        if (entry := directory.entries.get(tag)) and entry.kind in _CLASSIC:
            tags[tag] = entry.kind, entry.count, directory.raw(tag)
        elif entry:
            tags[tag] = _numbers(directory.numbers(tag), order)
    if found.planes > 1:  # a file of grey values
        tags = {tag: value for tag, value in tags.items() if tag not in (PLANAR, EXTRA)}
        tags |= {SAMPLES: _numbers([1], order), PHOTOMETRIC: _numbers([1], order)}
        tags |= {
            tag: _numbers(directory.numbers(tag)[:1], order) for tag in (BITS, SAMPLE_FORMAT) if tag in tags
        }
    if (dtype := integers(directory, found)) is not None:
        kind = _UNSIGNED if dtype == "i1" else _FLOAT
        tags[SAMPLE_FORMAT] = _numbers(
            [kind] * (1 if found.planes > 1 else found.bits // found.sample_bits), order
        )
    if directory.numbers(PHOTOMETRIC) == [_WHITE_IS_ZERO]:  # which OpenCV turns for 8 bits alone
        tags[PHOTOMETRIC] = _numbers([_BLACK_IS_ZERO], order)
    tags[LENGTH] = _numbers([rows], order)
    if not found.tiled:
        tags[ROWS] = _numbers([found.block_height], order)
    places, lengths = (TILES, TILE_BYTES) if found.tiled else (STRIPS, STRIP_BYTES)
    tags[lengths] = _numbers([len(block) for block in blocks], order)
    start = 8 + 2 + 12 * (len(tags) + 1) + 4
    at = start + sum(len(raw) for *_, raw in tags.values()) + 4 * len(blocks)
    offsets = []
    for block in blocks:
        offsets.append(at)
        at += len(block)
    tags[places] = _numbers(offsets, order)
    head, tail = bytearray(), bytearray()
    for tag in sorted(tags):
        kind, count, raw = tags[tag]
        head += tag.to_bytes(2, order) + kind.to_bytes(2, order) + count.to_bytes(4, order)
        if len(raw) > 4:
            head += (start + len(tail)).to_bytes(4, order)
            tail += raw
        else:
            head += raw.ljust(4, b"\0")
    tail = tail.ljust(offsets[0] - start, b"\0")
    mark = b"II*\0" if order == "little" else b"MM\0*"
    header = mark + (8).to_bytes(4, order) + len(tags).to_bytes(2, order) + bytes(head) + bytes(4)
    return b"".join([header, bytes(tail), *blocks])


def _numbers(values: list[int], order: str) -> tuple[int, int, bytes]:
    return _LONG, len(values), b"".join(value.to_bytes(4, order) for value in values)  # type: ignore[arg-type]
