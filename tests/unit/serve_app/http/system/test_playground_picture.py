"""The picture that the playground shows of a file that browsers cannot."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from serve_app.http.app import create_app
from serve_app.http.system.playground_picture import LONGEST_SIDE
from serve_app.http.tenants import keyfile
from serve_app.settings import Settings
from tests.support.fake_segmenter import FakeSegmenter
from tests.support.scenes import as_json, encoded, scene

ROUTE = "/playground/picture"
ORIENTATION = 0x0112


@pytest.fixture
def client() -> Iterator[TestClient]:
    with TestClient(
        create_app(FakeSegmenter(), Settings(max_image_pixels=20_000_000)), base_url="http://localhost"
    ) as client:
        yield client


def test_a_tiff_becomes_a_jpeg(client: TestClient) -> None:
    answer = client.post(ROUTE, files={"image": encoded(scene(), "TIFF")})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["x-image-size"] == "320x256"
    picture = np.asarray(Image.open(io.BytesIO(answer.content)), dtype=int)
    assert np.abs(picture - np.asarray(scene(), dtype=int)).mean() < 3


def test_it_takes_images_as_the_other_routes_do(client: TestClient) -> None:
    answer = client.post(ROUTE, json={"image": as_json(encoded(scene(), "TIFF"))})
    assert (answer.status_code, answer.headers["x-image-size"]) == (200, "320x256")


def test_it_is_upright(client: TestClient) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    answer = client.post(ROUTE, files={"image": encoded(scene(), "JPEG", exif=exif)})
    assert answer.headers["x-image-size"] == "256x320"
    assert Image.open(io.BytesIO(answer.content)).size == (256, 320)


def test_a_large_image_is_made_smaller_and_says_its_own_size(client: TestClient) -> None:
    answer = client.post(ROUTE, files={"image": encoded(Image.new("RGB", (LONGEST_SIDE * 2, 100)))})
    assert answer.headers["x-image-size"] == f"{LONGEST_SIDE * 2}x100"
    assert Image.open(io.BytesIO(answer.content)).size == (LONGEST_SIDE, 50)


@pytest.mark.parametrize(
    ("files", "status", "message"),
    [
        ([("image", b"no image")], 400, "not an image"),
        ([("image", encoded(Image.new("L", (5000, 5000))))], 413, "megapixels"),
    ],
)
def test_what_it_cannot_show_is_told(
    client: TestClient, files: list[tuple[str, bytes]], status: int, message: str
) -> None:
    answer = client.post(ROUTE, files=files)
    assert answer.status_code == status
    assert message in answer.json()["message"]


def test_it_shows_one_image_at_a_time(client: TestClient) -> None:
    assert client.post(ROUTE, files=[("image", encoded(scene()))] * 2).status_code == 422


def test_it_needs_the_key_of_the_server(tmp_path: Path) -> None:
    key = keyfile.add(tmp_path / "keys.json", "acme")
    with TestClient(
        create_app(FakeSegmenter(), Settings(api_keys_file=tmp_path / "keys.json")),
        base_url="http://localhost",
    ) as client:
        files = {"image": encoded(scene(), "TIFF")}
        assert client.post(ROUTE, files=files).status_code == 401
        assert client.post(ROUTE, files=files, headers={"Authorization": f"Bearer {key}"}).status_code == 200
