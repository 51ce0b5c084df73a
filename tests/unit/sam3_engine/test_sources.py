import base64
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from pathlib import Path
from typing import Any, Literal
from urllib.error import HTTPError
from urllib.parse import quote

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from sam3_engine.deep import to_eight_bits
from sam3_engine.errors import ImageTooLarge, UnreadableImage
from sam3_engine.sources import content_digest, decode, read_content
from tests.support.plain_server import plain_server

RGB = np.zeros((20, 30, 3), dtype=np.uint8)
RGB[..., 0] = 200
RGB[:10, :, 2] = 90


def png() -> bytes:
    buffer = BytesIO()
    Image.fromarray(RGB).save(buffer, "PNG")
    return buffer.getvalue()


def data_url(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


@pytest.fixture
def url() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/shapes.png":
                self.send_error(404)
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(png())

        def log_message(self, *_: object) -> None: ...

    with plain_server(Handler) as port:
        yield f"http://127.0.0.1:{port}"


def test_every_kind_of_source_gives_the_same_picture(tmp_path: Path, url: str) -> None:
    path = tmp_path / "shapes.png"
    path.write_bytes(png())
    sources: list[Any] = [
        path,
        str(path),
        png(),
        bytearray(png()),
        f"{url}/shapes.png",
        data_url(png()),
        f"data:image/png;base64,{quote(base64.b64encode(png()).decode(), safe='')}",
        Image.fromarray(RGB),
        RGB[..., ::-1],
    ]
    expected = decode(png(), 16)
    for source in sources:
        decoded = decode(read_content(source), 16)
        assert decoded.size == (20, 30)
        assert np.array_equal(decoded.square, expected.square)


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("data:image/png;base64,%%%", "not valid base64"),
        ("data:image/png;base64,", "empty"),
        ("data:image/svg+xml,%3Csvg/%3E", "must be in base64"),
    ],
)
def test_a_data_url_that_holds_no_image_is_told(value: str, meant: str) -> None:
    with pytest.raises(UnreadableImage, match=meant):
        read_content(value)


def test_a_path_that_is_too_long_is_not_repeated() -> None:
    with pytest.raises(OSError, match="a text of 50000 characters is no path") as raised:
        read_content("a" * 50_000)
    assert len(str(raised.value)) < 200


def test_a_file_has_one_id_wherever_it_comes_from(tmp_path: Path, url: str) -> None:
    path = tmp_path / "shapes.png"
    path.write_bytes(png())
    contents = [read_content(source) for source in (path, png(), f"{url}/shapes.png", data_url(png()))]
    ids = {content_digest(content) for content in contents if isinstance(content, bytes)}
    assert len(contents) == 4
    assert len(ids) == 1
    assert ids != {content_digest(png() + b"\0")}


def test_equal_bytes_of_another_shape_are_another_picture() -> None:
    wide, tall, flat = np.zeros((4, 8), np.uint8), np.zeros((8, 4), np.uint8), np.zeros((4, 8, 1), np.uint8)
    ids = [content_digest(decode(read_content(each), 16)) for each in (wide, tall, flat)]
    assert ids[0] != ids[1], "though the model sees the same square"
    assert ids[0] == ids[2]


@pytest.mark.parametrize("channels", ["bgr", "rgb"])
def test_the_order_of_an_arrays_colours(channels: Literal["bgr", "rgb"]) -> None:
    red = np.zeros((4, 4, 4), dtype=np.uint8)
    red[..., 0 if channels == "rgb" else 2] = 255
    red[..., 3] = 255
    for array in (red, red[..., :3]):
        assert (decode(read_content(array, channels), 4).square == (255, 0, 0)).all()


def test_greyscale_arrays() -> None:
    assert (decode(read_content(np.full((4, 4), 7, np.uint8)), 4).square == 7).all()


RAMP = np.linspace(0, 1, 12 * 16).reshape(12, 16)


@pytest.mark.parametrize(
    ("dtype", "most"),
    [
        ("uint16", 4095),
        (">u2", 65535),
        ("int16", 3000),
        ("int32", 10**6),
        ("int64", 10**12),
        ("float16", 1),
        ("float32", 1),
        ("float64", 255),
    ],
)
def test_deep_arrays_are_stretched_as_deep_files_are(dtype: str, most: int) -> None:
    grey = (RAMP * most).astype(dtype)
    square = decode(read_content(grey), 16).square
    assert square.min() < 8
    assert square.max() > 247
    assert np.array_equal(square[..., 0], decode(Image.fromarray(to_eight_bits(grey)), 16).square[..., 0])
    colours = np.stack([grey, grey // 2 if most > 1 else grey / 2, grey * 0], axis=2)
    seen = decode(read_content(colours, "rgb"), 16).square
    assert np.array_equal(decode(read_content(colours[..., ::-1]), 16).square, seen)
    assert seen[..., 0].max() > 240 > seen[..., 1].max() > 110 > seen[..., 2].max() == 0


def test_deep_arrays_are_the_picture_that_their_file_is() -> None:
    colours = (np.stack([RAMP, RAMP[::-1], RAMP * 0.3], axis=2) * 4095).astype(np.uint16)
    done, content = cv2.imencode(".png", colours)
    assert done
    expected = decode(content.tobytes(), 16)
    assert np.array_equal(decode(read_content(colours), 16).square, expected.square)


def test_an_opened_image_is_upright_as_its_file_is() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for image_format in ("JPEG", "PNG", "WEBP", "TIFF"):
        file = BytesIO()
        Image.fromarray(RGB).save(file, image_format, exif=exif)
        expected = decode(file.getvalue(), 16)
        assert expected.size == (30, 20)
        with Image.open(file) as opened:
            for image in (opened, opened.copy(), ImageOps.exif_transpose(opened), opened.convert("RGBA")):
                decoded = decode(image, 16)
                assert decoded.size == expected.size, image_format
                distance = np.abs(decoded.square.astype(int) - expected.square.astype(int)).max()
                assert distance <= 1, f"{image_format}: resized before it was turned, or after"


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3), bool),
        np.zeros((4, 4, 3), complex),
        np.full((4, 4, 3), None),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((4, 4, 2)),
        np.zeros(4, np.uint8),
    ],
)
def test_other_arrays_are_refused(array: np.ndarray) -> None:
    with pytest.raises(ValueError, match="expected an image array"):
        read_content(array)


def test_images_without_pixels_are_refused() -> None:
    with pytest.raises(UnreadableImage, match="no pixels"):
        read_content(np.zeros((0, 4, 3), np.uint8))
    with pytest.raises(UnreadableImage, match="no pixels"):
        decode(Image.new("RGB", (0, 4)), 4)


@pytest.mark.parametrize("source", [None, 3, {"type": "base64"}])
def test_other_things_are_refused(source: Any) -> None:
    with pytest.raises(TypeError, match="cannot read an image"):
        read_content(source)


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_content(tmp_path / "nowhere.png")


def test_a_url_that_gives_nothing(url: str) -> None:
    with pytest.raises(UnreadableImage, match="cannot be fetched: HTTP Error 404") as refused:
        read_content(f"{url}/other.png")
    assert isinstance(refused.value.__cause__, HTTPError)
    assert refused.value.__cause__.closed, "the answer holds a connection no longer"
    for nobody in (
        "http://127.0.0.1:1/x.png",
        "http://[::1",
        "http://a b/x.png",
        "http://host:port/",
        "HTTP://x y",
    ):
        with pytest.raises(UnreadableImage, match="cannot be fetched"):
            read_content(nobody)


def test_a_download_has_a_limit(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sam3_engine.sources.MAX_DOWNLOAD", 10)
    with pytest.raises(ImageTooLarge, match="larger than"):
        read_content(f"{url}/shapes.png")


def test_the_pixel_limit_holds_for_pictures_in_memory() -> None:
    assert decode(Image.new("RGB", (10, 10)), 4, max_pixels=100).size == (10, 10)
    with pytest.raises(ImageTooLarge, match="100 pixels"):
        decode(Image.new("RGB", (10, 10)), 4, max_pixels=99)


def test_a_picture_that_was_opened_and_cannot_be_read(tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    path.write_bytes(png()[:60])
    with Image.open(path) as cut, pytest.raises(UnreadableImage, match="broken, truncated or closed"):
        decode(cut, 4)
