"""Image files that no program writes: each costs its reader more than its size."""

import struct
import zlib
from io import BytesIO

import numpy as np
from PIL import Image

from sam3_engine.formats.png import SIGNATURE

ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
"""The passes of an interlaced PNG: the first column and row, and the steps to the next."""


def encoded(image: Image.Image, image_format: str, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, image_format, **options)
    return file.getvalue()


def picture(width: int = 64, height: int = 48) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)


def jpeg_with_scans(scans: int, width: int = 64, height: int = 48) -> bytes:
    """A progressive JPEG with so many scans more, each of which refines nothing."""
    content = encoded(picture(width, height), "JPEG", progressive=True)
    # One coefficient of the first component, and a block of data that is over at once.
    scan = b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, 1, 0, 63, 63, 0) + b"\0\0"
    return content[:-2] + scan * scans + content[-2:]


def jpeg_with_segments(segment: bytes, count: int) -> bytes:
    content = encoded(picture(), "JPEG")
    return content[:2] + segment * count + content[2:]


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_with_chunks(count: int) -> bytes:
    content = encoded(picture(), "PNG")
    end = content.index(b"IDAT") - 4
    return content[:end] + chunk(b"IDAT", b"") * count + content[end:]


def gif_with_comment(size: int) -> bytes:
    """A GIF with a comment of so many bytes in front of its frame, in blocks of one byte."""
    content = encoded(picture().quantize(16), "GIF")
    start = 13 + (3 << (content[10] & 7) + 1)
    return content[:start] + b"!\xfe" + b"\1x" * size + b"\0" + content[start:]


def bmp_of_runs(pixels: int) -> bytes:
    """A BMP in runs of one pixel: a hundred in a row."""
    data = (b"\1\2" * 100 + b"\0\0") * (pixels // 100) + b"\0\1"
    start = 54 + 4 * 256
    sizes = struct.pack("<LLLL", start + len(data), 0, start, 40)
    header = struct.pack("<llHHLLllLL", 100, pixels // 100, 1, 8, 1, len(data), 0, 0, 256, 0)
    return b"BM" + sizes + header + bytes(4 * 256) + data


def entry(tag: int, kind: int, count: int, value: int) -> bytes:
    return struct.pack("<HHLL", tag, kind, count, value)


def directory(entries: list[bytes], data: bytes = b"") -> bytes:
    """A little-endian TIFF structure of one directory; `data` comes at its end."""
    header = b"II*\0" + struct.pack("<LH", 8, len(entries))
    return header + b"".join(entries) + bytes(4) + data


def metadata_bomb(entries: int = 3000, size: int = 50_000) -> bytes:
    """EXIF data whose entries all have the same bytes as their values."""
    start = 14 + 12 * entries
    names = [entry(0x9000 + number, 7, size - start, start) for number in range(entries)]
    return directory(names, bytes(size - start))


def tiff(tags: dict[int, tuple[int, list[int]]], strip: bytes, offsets: int = 273) -> bytes:
    """A little-endian TIFF of the tags (type 3 or 4, values); the place of the strip is filled in."""
    sizes = {3: "H", 4: "L"}
    place, tail, entries = 8 + len(strip), b"", []
    tags = {**tags, offsets: (4, [8] * max(1, len(tags.get(offsets, (4, [8]))[1])))}
    begin = place + 2 + 12 * len(tags) + 4
    for tag in sorted(tags):
        kind, values = tags[tag]
        raw = struct.pack(f"<{len(values)}{sizes[kind]}", *values)
        if len(raw) > 4:
            entries.append(struct.pack("<HHLL", tag, kind, len(values), begin + len(tail)))
            tail += raw
        else:
            entries.append(struct.pack("<HHL", tag, kind, len(values)) + raw.ljust(4, b"\0"))
    head = b"II*\0" + struct.pack("<L", place)
    return head + strip + struct.pack("<H", len(tags)) + b"".join(entries) + bytes(4) + tail


def grey_tiff(width: int, height: int, strip: bytes, **more: tuple[int, list[int]]) -> bytes:
    """A TIFF of 8-bit grey in one strip or tile, deflated. more: t322=(4, [16]) and so on."""
    extra = {int(name[1:]): value for name, value in more.items()}
    blocks = 324 if 322 in extra else 273
    tags = {
        256: (4, [width]),
        257: (4, [height]),
        258: (3, [8]),
        259: (3, [8]),
        262: (3, [1]),
        277: (3, [1]),
        (325 if 322 in extra else 279): (4, [len(strip)]),
        **({} if 322 in extra else {278: (4, [height])}),
        **extra,
    }
    return tiff(tags, strip, blocks)


def png_of(width: int, height: int, depth: int, kind: int, channels: int, interlaced: int = 0) -> bytes:
    """A PNG of zeros: a thousandth of its pixels."""
    deflate = zlib.compressobj(9)
    passes = ADAM7 if interlaced else [(0, 0, 1, 1)]
    data = b""
    for left, top, across, down in passes:
        line = bytes(1 + -(-(-(-(width - left) // across) * depth * channels) // 8))
        data += b"".join(deflate.compress(line) for _ in range(top, height, down))
    data += deflate.flush()
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, interlaced)
    return SIGNATURE + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
