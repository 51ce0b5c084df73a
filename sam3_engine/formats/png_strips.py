"""Reads a PNG picture of 16 bits per channel a few rows at a time.

Each time a file is made that has only these rows, after the row above them, which their filters refer to.
"""

import struct
import zlib
from collections.abc import Iterator

from sam3_engine.formats.opencv import Values, read
from sam3_engine.formats.png import SIGNATURE, chunks

GROUP_BYTES = 2**22
"""Bytes of pixels that are decoded at once, or the bytes of one row if they are more."""
MOST_WIDTH = 2**20
"""OpenCV reads no wider picture."""
_CHANNELS = {2: (0, 1, 2), 4: (0, 3), 6: (0, 1, 2, 3)}
"""The channels of a decoded pixel (R, G, B, alpha) that the file holds, by its type of colours."""


def is_interlaced(content: bytes) -> bool:
    """True for a PNG file whose header says Adam7: its rows are not in order."""
    return content[28:29] == b"\1"


def shape(content: bytes) -> tuple[int, int, int]:
    """Width, height and the number of channels of a PNG file with colours."""
    width, height, _, kind = struct.unpack(">IIBB", content[16:26])
    return width, height, len(_CHANNELS.get(kind, (0,)))


def strips(content: bytes) -> Iterator[Values]:
    """The rows from above, uint16 [N, W, 3 or 4]. Raises ValueError for a file that is broken, interlaced or has no
    colours of 16 bits."""
    header = content[16:29]
    width, height, depth, kind, interlaced = *struct.unpack(">IIBB", header[:10]), header[12]
    if depth != 16 or kind not in _CHANNELS or interlaced or width > MOST_WIDTH:
        raise ValueError("no colours of 16 bits, row by row")
    channels = _CHANNELS[kind]
    line = 1 + 2 * len(channels) * width
    transparency = b"".join(content[start:stop] for name, start, stop in chunks(content) if name == b"tRNS")
    group, above = max(1, GROUP_BYTES // line), b""
    pieces = _inflated(content, group * line)
    for row in range(0, height, group):
        rows = min(group, height - row)
        lines = next(pieces, b"")[: rows * line]
        if len(lines) < rows * line:
            raise ValueError("rows are missing")
        total = rows + bool(above)
        size = struct.pack(">II", width, total) + header[8:]
        data = zlib.compress(above + lines, 0)
        file = [SIGNATURE, _chunk(b"IHDR", size), transparency, _chunk(b"IDAT", data), _chunk(b"IEND", b"")]
        values = read(b"".join(file))
        if values is None or values.ndim != 3 or values.shape[:2] != (total, width):
            raise ValueError("rows cannot be read")
        above = b"\0" + values[-1][:, channels].astype(">u2").tobytes()
        yield values[total - rows :]


def _inflated(content: bytes, size: int) -> Iterator[bytes]:
    """The filtered rows, `size` bytes at a time."""
    inflate, buffer = zlib.decompressobj(), bytearray()
    try:
        for name, start, stop in chunks(content):
            if name != b"IDAT":
                continue
            data = content[start + 8 : stop - 4]
            if zlib.crc32(data, zlib.crc32(name)) != int.from_bytes(content[stop - 4 : stop]):
                raise ValueError("a wrong checksum")
            while data:
                buffer += inflate.decompress(data, size - len(buffer))
                data = inflate.unconsumed_tail
                if len(buffer) == size:
                    yield bytes(buffer)
                    buffer.clear()
                if inflate.eof:
                    break
    except zlib.error as error:
        raise ValueError(str(error)) from error
    yield bytes(buffer)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(data, zlib.crc32(name)))
