"""A PNG whose picture is whole is read, with any other parts in its file."""

import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from sam3_engine.errors import UnreadableImage
from sam3_engine.formats.png import SIGNATURE, picture_only
from sam3_engine.images import decode_image, open_upright, probe

LONG = b"x" * (3 * 2**20)


def picture(**options: object) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG", **options)
    return file.getvalue()


def chunk(name: bytes, data: bytes, checksum: int | None = None) -> bytes:
    crc = zlib.crc32(name + data) if checksum is None else checksum
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc)


HEAD = len(SIGNATURE) + 25
"""The offset in bytes at which the header's chunk ends."""
TEXTS = {
    "compressed text": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(LONG)),
    "international text": chunk(b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(LONG)),
    "colour profile": chunk(b"iCCP", b"profile\0\0" + zlib.compress(LONG)),
    "long metadata": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(LONG)),
    "long exif as text": chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(LONG)),
    "wrong checksum of a text": chunk(b"tEXt", b"Comment\0hello", 7),
    "wrong checksum of the resolution": chunk(b"pHYs", b"\0\0\1\0\0\0\1\0\1", 7),
    "wrong checksum of the profile": chunk(b"iCCP", b"profile\0\0" + zlib.compress(b"x"), 7),
    "wrong checksum of the orientation": chunk(b"eXIf", b"MM\0*garbage", 7),
    "chunk that is cut short": chunk(b"sRGB", b""),
    "unknown chunk": chunk(b"prVt", b"anything", 7),
}


@pytest.mark.parametrize("extra", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("where", ["before", "behind"])
def test_parts_that_the_picture_does_not_need_do_not_stop_it(extra: bytes, where: str) -> None:
    plain = picture()
    place = HEAD if where == "before" else len(plain) - 12
    content = plain[:place] + extra + plain[place:]
    assert np.array_equal(np.asarray(open_upright(content)), np.asarray(open_upright(plain)))
    assert decode_image(content, max_pixels=1000, target=16).size == probe(content).size == (20, 30)


def test_a_wrong_checksum_of_the_picture_itself_is_refused() -> None:
    content = bytearray(picture())
    content[HEAD - 1] ^= 1  # of the header
    with pytest.raises(UnreadableImage):
        decode_image(bytes(content), max_pixels=1000, target=16)


def test_orientation_and_transparency_stay() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = picture(exif=exif)
    assert decode_image(content, max_pixels=1000, target=16).size == (30, 20)
    file = BytesIO()
    half = Image.new("P", (4, 4), 1)
    half.putpalette([0, 0, 0, 40, 50, 60])
    half.paste(0, (0, 0, 2, 4))
    half.save(file, "PNG", transparency=1)
    square = decode_image(file.getvalue(), max_pixels=100, target=4).square
    assert (square[:, 2:] == 255).all()
    assert (square[:, :2] == 0).all()


@pytest.mark.parametrize("flag", [b"\0", b"\1"], ids=["plain", "compressed"])
def test_orientation_in_text_metadata_stays(flag: bytes) -> None:
    xmp = b'<x:xmpmeta tiff:Orientation="6"/>'
    text = zlib.compress(xmp) if flag == b"\1" else xmp
    extra = chunk(b"iTXt", b"XML:com.adobe.xmp\0" + flag + b"\0\0\0" + text)
    plain = picture()
    content = plain[:HEAD] + extra + plain[HEAD:]
    assert decode_image(content, max_pixels=1000, target=16).size == (30, 20)


def test_other_files_are_returned_as_they_are() -> None:
    plain = picture()
    assert picture_only(plain) is plain
    for content in (b"", b"GIF89a" + plain, plain[:30], SIGNATURE, SIGNATURE + b"\xff" * 20):
        assert picture_only(content) == content
