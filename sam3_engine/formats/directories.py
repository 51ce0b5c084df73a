"""TIFF directories: of TIFF files, and of the EXIF data in files of other formats.

Entries name their values by place and length, so that thousands may name the same bytes, and a reader copies them for
each. The sum is checked before a reader sees the file.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from sam3_engine.errors import ImageTooLarge, UnreadableImage

HEADERS = (b"II*\0", b"MM\0*", b"II\0*", b"MM*\0", b"II+\0", b"MM\0+")
"""First four bytes of the TIFF files that Pillow takes. They name either byte order; the number behind may be in the
other one."""
BIG_ENDIAN = b"MM\0+"
"""First four bytes of a BigTIFF file."""
SPARE_BYTES = 2**20
"""Bytes that values may have beyond the file's own size."""
MOST_ENTRIES = 2**18
"""Entries of all directories of a file that a camera would never fill."""
MOST_VALUES = 2**18
"""Numbers of one tag, which Pillow makes objects of: as many tiles of 32 x 32 are in 268 megapixels."""
_PREFIXES = b"Exif\0\0" * 8
"""Pillow copies the EXIF data for each of these prefixes that it drops."""
_NESTED = (0x8769, 0x8825, 0xA005)
"""The directories of EXIF, GPS and interoperability, which Pillow reads with the first one."""
_SIZES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
"""Bytes of a value, by its type."""
_BYTES = (1, 2, 6, 7)
"""Types of values that stay bytes."""
_NUMBERS = {1: "u1", 3: "u2", 4: "u4", 6: "i1", 8: "i2", 9: "i4", 13: "u4", 16: "u8", 17: "i8"}


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry: the type and the number of its values, and their place in the file."""

    kind: int
    count: int
    offset: int

    @property
    def size(self) -> int:
        """Bytes of all values."""
        return self.count * _SIZES[self.kind]


@dataclass(frozen=True, slots=True)
class Directory:
    """The first directory of a TIFF structure: entries by tag, of known types and inside the file."""

    content: memoryview = field(repr=False)
    order: Literal["little", "big"]
    entries: dict[int, Entry]

    def raw(self, tag: int) -> bytes:
        """The bytes of a tag's values, in the file's byte order; empty without the tag."""
        entry = self.entries.get(tag)
        return bytes(self.content[entry.offset : entry.offset + entry.size]) if entry else b""

    def numbers(self, tag: int, default: tuple[int, ...] = ()) -> list[Any]:
        """A tag's numbers; `default` without the tag, or where it holds none."""
        entry = self.entries.get(tag)
        if entry is None or entry.kind not in _NUMBERS or not entry.count:
            return list(default)
        kind = np.dtype(_NUMBERS[entry.kind]).newbyteorder("<" if self.order == "little" else ">")
        return np.frombuffer(self.raw(tag), kind).tolist()


def read_directory(content: bytes | memoryview) -> Directory | None:
    """The first directory of a TIFF structure that begins with `content`; None for anything else.

    Raises UnreadableImage for a tag that is there twice: of which readers take different ones.
    """
    data = memoryview(content)
    if bytes(data[:4]) not in HEADERS:
        return None
    order, start, big = _start(data)
    pairs = list(_entries(data, order, start, big))
    entries = dict(pairs)
    if len(entries) < len(pairs):
        raise UnreadableImage("the TIFF image is broken: it has a tag twice")
    return Directory(data, order, entries)


def check_directories(content: bytes, *, anywhere: bool = True) -> None:
    """Raises ImageTooLarge where TIFF directories have values of more bytes than the content, too many entries, or too
    many numbers in one.

    anywhere: all that begin somewhere in the content, such as EXIF data; otherwise the one that the content begins
    with, if it is a TIFF file.
    """
    if anywhere and _PREFIXES in content:
        raise ImageTooLarge("the image has too much metadata")
    count = 0
    for place in _headers(content) if anywhere else [0] * content.startswith(HEADERS):
        data = memoryview(content)[place:]
        order, start, big = _start(data)
        starts, total = [start], 0
        for start in starts:  # which grows by the nested ones
            count += _length(data, order, start, big)
            if count > MOST_ENTRIES:
                break
            for tag, entry in _entries(data, order, start, big):
                total += entry.size
                if entry.kind not in _BYTES and entry.count > MOST_VALUES:
                    raise ImageTooLarge(f"the image has a tag of more than {MOST_VALUES} values")
                if tag in _NESTED and len(starts) <= len(_NESTED):
                    starts.append(int.from_bytes(data[entry.offset : entry.offset + entry.size], order))
            if total > len(content) + SPARE_BYTES or count > MOST_ENTRIES:
                raise ImageTooLarge("the image has too much metadata")


def _headers(content: bytes) -> Iterator[int]:
    for header in HEADERS:
        at = content.find(header)
        while at >= 0:
            yield at
            at = content.find(header, at + 4)


def _start(data: memoryview) -> tuple[Literal["little", "big"], int, bool]:
    """Byte order and place of the first directory, and whether its numbers have 8 bytes."""
    order: Literal["little", "big"] = "little" if data[0] == ord("I") else "big"
    big = data[2] == ord("+")  # as Pillow decides
    return order, int.from_bytes(data[8:16] if big else data[4:8], order), big


def _entries(
    data: memoryview, order: Literal["little", "big"], start: int, big: bool
) -> Iterator[tuple[int, Entry]]:
    wide, length = (8, 20) if big else (4, 12)
    first = start + (8 if big else 2)
    for number in range(_length(data, order, start, big)):
        entry = data[first + number * length : first + (number + 1) * length]
        kind, count = int.from_bytes(entry[2:4], order), int.from_bytes(entry[4 : 4 + wide], order)
        if kind not in _SIZES:
            continue
        size, place = count * _SIZES[kind], first + number * length + length - wide
        if size > wide:
            place = int.from_bytes(entry[-wide:], order)
        if place + size <= len(data):
            yield int.from_bytes(entry[:2], order), Entry(kind, count, place)


def _length(data: memoryview, order: Literal["little", "big"], start: int, big: bool) -> int:
    """Entries of the directory at `start`, as far as the file holds them."""
    first = start + (8 if big else 2)
    return min(int.from_bytes(data[start:first], order), max(0, len(data) - first) // (20 if big else 12))
