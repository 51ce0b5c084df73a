"""Files that would keep a reader busy are refused by what their bytes say, before a decoder sees them."""

import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from sam3_engine.errors import ImageTooLarge, UnreadableImage
from sam3_engine.formats import gif, jpeg, png
from sam3_engine.formats.checked import checked
from sam3_engine.images import decode_image, open_upright, probe
from tests.support.image_files import (
    bmp_of_runs,
    chunk,
    directory,
    encoded,
    entry,
    gif_with_comment,
    grey_tiff,
    jpeg_with_scans,
    jpeg_with_segments,
    metadata_bomb,
    picture,
    png_with_chunks,
)

EXIF = b"Exif\0\0"
HEX = "\nexif\n  8\n" + metadata_bomb().hex()
PNG = encoded(picture(), "PNG")
PREFIXED = PNG[:33] + chunk(b"eXIf", EXIF * 10_000 + directory([])) + PNG[33:]
STRIP = zlib.compress(bytes(64 * 48))
NESTED = directory([entry(0x112, 3, 1, 6), entry(0x8769, 4, 1, 38)], metadata_bomb()[8:])


def app(marker: int, data: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(data) + 2).to_bytes(2) + data


BOMBS: dict[str, tuple[bytes, str]] = {
    "JPEG of many scans": (jpeg_with_scans(800), "more than 64 scans"),
    "JPEG of many comments": (jpeg_with_segments(app(0xFE, b""), 5000), "too many segments"),
    "JPEG of many EXIF segments": (
        jpeg_with_segments(app(0xE1, EXIF + bytes(100)), 100),
        "too many segments",
    ),
    "JPEG of many tables": (jpeg_with_segments(app(0xDB, bytes(65)), 100), "too many segments"),
    "JPEG of many Photoshop segments": (jpeg_with_segments(app(0xED, bytes(65)), 100), "too many segments"),
    "JPEG with overlapping metadata": (encoded(picture(), "JPEG", exif=EXIF + metadata_bomb()), "metadata"),
    "WEBP with overlapping metadata": (encoded(picture(), "WEBP", exif=EXIF + metadata_bomb()), "metadata"),
    "PNG with overlapping metadata": (encoded(picture(), "PNG", exif=metadata_bomb()), "metadata"),
    "JPEG with nested overlapping metadata": (encoded(picture(), "JPEG", exif=EXIF + NESTED), "metadata"),
    "PNG with many prefixes of EXIF": (PREFIXED, "metadata"),
    "PNG of many chunks": (png_with_chunks(70_000), "more than 65536 chunks"),
    "GIF with a comment of many blocks": (gif_with_comment(200_000), "too many blocks"),
    "BMP of many runs": (bmp_of_runs(2**20), "run-length"),
    "TIFF with overlapping values": (metadata_bomb(), "metadata"),
    "TIFF of many strips": (
        grey_tiff(64, 300_000, STRIP, t273=(4, [8] * 300_000), t279=(4, [1] * 300_000), t278=(4, [1])),
        "more than 262144 values",
    ),
    "TIFF of strips with the same bytes": (
        grey_tiff(
            64, 48, STRIP + bytes(100_000), t273=(4, [8] * 48), t279=(4, [100_000] * 48), t278=(4, [1])
        ),
        "more bytes than its file",
    ),
    "TIFF of samples of many sizes": (
        grey_tiff(64, 48, STRIP, t258=(3, [8] * 300_000)),
        "more than 262144 values",
    ),
    "TIFF of a huge tile": (
        grey_tiff(64, 48, STRIP, t322=(4, [60_000]), t323=(4, [30_000])),
        "larger than its picture",
    ),
    "TIFF of JPEG strips with many scans": (
        grey_tiff(64, 48, jpeg_with_scans(800), t259=(3, [7])),
        "more than 64 scans",
    ),
}


@pytest.fixture
def no_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(self: Any, *_: Any) -> None:
        raise AssertionError("it is decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", decode)


@pytest.mark.usefixtures("no_decoding")
@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_before_they_are_decoded_and_the_refusal_says_why(name: str) -> None:
    content, reason = BOMBS[name]
    for read in (
        lambda: decode_image(content, max_pixels=10**9, target=64),
        lambda: open_upright(content, max_pixels=10**9),
        lambda: probe(content),
    ):
        with pytest.raises(ImageTooLarge, match=reason):
            read()


def test_metadata_that_hides_in_a_text_is_not_read() -> None:
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    text.add_text("Raw profile type exif", HEX, zip=True)
    content = encoded(picture(), "PNG", pnginfo=text)
    assert decode_image(content, max_pixels=10**6, target=64).size == (48, 64)


def test_a_header_with_too_much_between_its_segments_is_refused() -> None:
    content = encoded(picture(), "JPEG")
    padded = content[:2] + b"\xff" * 10**6 + content[2:]
    with pytest.raises(UnreadableImage, match="between its segments"):
        decode_image(padded, max_pixels=10**6, target=64)
    few = content[:2] + b"\xff" * 100 + content[2:]
    assert decode_image(few, max_pixels=10**6, target=64).size == (48, 64)


@pytest.mark.parametrize(
    ("options", "scans"),
    [({}, 1), ({"progressive": True}, 10), ({"progressive": True, "restart_marker_rows": 1}, 10)],
    ids=["baseline", "progressive", "restarts"],
)
def test_scans_are_counted(options: dict[str, Any], scans: int) -> None:
    content = encoded(picture(), "JPEG", **options)
    assert jpeg.structure(content).scans == scans
    assert jpeg.structure(content + content).scans == scans, "of the first picture alone"
    thumbnail = jpeg_with_segments(app(0xE1, EXIF + jpeg_with_scans(40)), 2)
    assert jpeg.structure(thumbnail).scans == 1


@pytest.mark.parametrize(("subsampling", "kept"), [(0, 6.0), (1, 4.0), (2, 3.0)])
def test_the_coefficients_of_a_progressive_jpeg_are_counted(subsampling: int, kept: float) -> None:
    content = encoded(picture(), "JPEG", progressive=True, subsampling=subsampling)
    assert jpeg.structure(content).kept == kept
    assert jpeg.structure(encoded(picture(), "JPEG", subsampling=subsampling)).kept == 0


def test_as_many_scans_as_are_allowed_are_decoded() -> None:
    content = jpeg_with_scans(jpeg.MOST_SCANS - 10)
    whole = open_upright(encoded(picture(), "JPEG", progressive=True))
    difference = np.asarray(open_upright(content)).astype(int) - np.asarray(whole)
    assert np.abs(difference).mean() < 3  # the scans change one coefficient of some blocks


@pytest.mark.parametrize("image_format", ["GIF", "WEBP", "TIFF", "PNG", "MPO"])
def test_of_many_frames_one_is_decoded(image_format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = [Image.new("RGB", (20, 10), (n % 256, n // 256, 9)) for n in range(300)]
    content = encoded(frames[0], image_format, save_all=True, append_images=frames[1:])
    seeks: list[int] = []

    def seek_check(_: ImageFile.ImageFile, frame: int) -> bool:
        seeks.append(frame)
        return False

    monkeypatch.setattr(ImageFile.ImageFile, "_seek_check", seek_check)
    assert decode_image(content, max_pixels=10**6, target=8).size == (10, 20)
    assert not [frame for frame in seeks if frame]


def test_a_short_bmp_of_runs_is_read() -> None:
    assert decode_image(bmp_of_runs(1000), max_pixels=10**6, target=8).size == (10, 100)


def test_comments_in_a_gif_are_left_out() -> None:
    content = gif_with_comment(50_000)
    kept = gif.picture_only(content)
    assert len(kept) < len(content) - 100_000
    assert np.array_equal(np.asarray(open_upright(content)), np.asarray(open_upright(kept)))


@pytest.mark.parametrize("content", [b"GIF89a", b"GIF89a" + bytes(7), b"GIF89a" + bytes(7) + b"!\xfe\5"])
def test_a_gif_that_ends_early_is_refused_as_unreadable(content: bytes) -> None:
    with pytest.raises(UnreadableImage):
        decode_image(content, max_pixels=10**6, target=8)


def test_orientation_behind_the_limits_is_still_read() -> None:
    exif = Image.Exif()
    exif[0x112] = 6
    exif[0x9286] = b"x" * 30_000
    for image_format in ("JPEG", "PNG", "WEBP"):
        content = encoded(picture(), image_format, exif=exif)
        assert decode_image(content, max_pixels=10**6, target=8).size == (64, 48)


def test_ordinary_files_pass_as_they_are() -> None:
    for image_format in ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "AVIF"):
        content = encoded(picture(), image_format)
        assert checked(content) == content
    assert png.picture_only(b"") == b""
