"""The structure of a JPEG file: the work that its decoder would have, from the markers alone.

A progressive file may send each coefficient in many scans, and each scan visits the whole picture however few bytes it
has. No decoder can be stopped in between, so the scans are counted before.
"""

import re
from dataclasses import dataclass

from sam3_engine.errors import ImageTooLarge, UnreadableImage

SIGNATURE = b"\xff\xd8\xff"
MOST_SCANS = 64
"""libjpeg's own script has 10 scans, mozjpeg's longest about 20."""
MOST_SEGMENTS = 4096
"""Segments of one picture. 64 MiB of metadata fill 1024."""
MOST_PARSED = 32
"""Segments of one kind that Pillow reads in Python, in time that grows with the square of their number."""
MOST_PADDING = 2**16
"""Bytes between the segments of a header, which Pillow skips one by one."""

_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd7\xff])")
"""A marker with a segment, or the end. Between scans, the other ones are data, restarts and padding."""
_END, _SCAN, _TABLE, _EXIF, _PHOTOSHOP = 0xD9, 0xDA, 0xDB, 0xE1, 0xED
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)


@dataclass(slots=True)
class JpegStructure:
    """The decoder's work for a JPEG file.

    scans: times that it visits the picture; kept: bytes of coefficients that it holds for each pixel of the picture,
    for all scans together; header: bytes in front of the first scan.
    """

    scans: int = 0
    kept: float = 0.0
    header: int = 0


def structure(content: bytes) -> JpegStructure:
    """The structure of the first picture of a JPEG file, to its end or to that of the file.

    Raises ImageTooLarge for more scans or segments than any camera or program writes, and UnreadableImage for a header
    with too much between its segments.
    """
    found, at, segments, padding = JpegStructure(), 2, 0, 0
    parsed = dict.fromkeys((_TABLE, _EXIF, _PHOTOSHOP), 0)
    coefficients, progressive = 0.0, False
    while (match := _MARKER.search(content, at)) and (code := match[1][0]) != _END:
        if not found.scans:
            found.header = match.start()
            padding += match.start() - at
        segments += 1
        at = match.end()
        if code == _SCAN:
            found.scans += 1
        elif code in _FRAMES:
            coefficients, progressive = _coefficients(content[at : at + 64]), code in _PROGRESSIVE
        elif code in parsed and not found.scans:
            parsed[code] += code != _EXIF or content[at + 2 : at + 6] == b"Exif"
        if found.scans > MOST_SCANS:
            raise ImageTooLarge(f"the JPEG image has more than {MOST_SCANS} scans")
        if segments > MOST_SEGMENTS or max(parsed.values()) > MOST_PARSED:
            raise ImageTooLarge("the JPEG image has too many segments")
        if padding > MOST_PADDING:
            raise UnreadableImage("the JPEG image has a broken header: too much between its segments")
        at += int.from_bytes(content[at : at + 2])
    if progressive or found.scans > 1:
        found.kept = coefficients
    return found


def _coefficients(frame: bytes) -> float:
    """Bytes of the coefficients of each pixel: 2 for each component, less where it is subsampled."""
    sampling = [(byte >> 4, byte & 15) for byte in frame[9::3]][: frame[7] if len(frame) > 7 else 0]
    most = max((h for h, _ in sampling), default=0) * max((v for _, v in sampling), default=0)
    return 2 * sum(h * v for h, v in sampling) / most if most else 0.0
