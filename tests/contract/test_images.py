"""The images that a request may carry: how they come, which files they are, and which are refused."""

import base64
import io
import json
import textwrap
import zlib
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import requests
from PIL import Image, features

from tests.contract.conftest import Client
from tests.support.patience import PATIENCE_S
from tests.support.scenes import (
    HEIGHT,
    SQUARE,
    WIDTH,
    as_json,
    box_iou,
    encoded,
    numbered,
    polygon_box,
    scene,
)

BLUE = [{"type": "text", "text": "blue square"}]


def find_square(client: Client, image: Any) -> tuple[float, ...]:
    answer = client.concept({"image": image, "prompts": BLUE})
    (one,) = answer["prompt_results"][0]["predictions"]
    return polygon_box(one["masks"])


def rgba() -> Image.Image:
    """The scene, cut out: transparent ground."""
    image = scene().convert("RGBA")
    alpha = np.asarray(scene().convert("RGB")).min(axis=2) < 200
    image.putalpha(Image.fromarray(alpha.astype(np.uint8) * 255))
    return image


def animated() -> bytes:
    """A GIF whose later frames are empty."""
    empty = Image.new("RGB", (WIDTH, HEIGHT), "white")
    return encoded(scene(), "GIF", save_all=True, append_images=[empty, empty])


FILES = {
    "png": lambda: encoded(scene()),
    "jpeg": lambda: encoded(scene(), "JPEG", quality=95),
    "webp": lambda: encoded(scene(), "WEBP", lossless=True),
    "bmp": lambda: encoded(scene(), "BMP"),
    "tiff": lambda: encoded(scene(), "TIFF"),
    "palette": lambda: encoded(scene().quantize(16)),
    "alpha": lambda: encoded(rgba()),
    "animated": animated,
    "cmyk": lambda: encoded(scene().convert("CMYK"), "JPEG", quality=95),
}
if features.check("avif"):
    FILES["avif"] = lambda: encoded(scene(), "AVIF", quality=95)


@pytest.mark.parametrize("kind", FILES)
def test_kinds_of_files(client: Client, kind: str) -> None:
    assert box_iou(SQUARE, find_square(client, as_json(FILES[kind]()))) > 0.7


@pytest.mark.parametrize("mode", ["L", "I;16", "1", "LA"])
def test_files_without_colour_are_read(client: Client, mode: str) -> None:
    grey = scene().convert("L")
    image = (
        Image.fromarray(np.asarray(grey).astype(np.uint16) * 257) if mode == "I;16" else grey.convert(mode)
    )
    answer = client.visual({"image": as_json(encoded(image)), "format": "rle"})
    assert answer["predictions"][0]["masks"]["size"] == [HEIGHT, WIDTH]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(client: Client, orientation: int) -> None:
    """However the file is stored, the answer is in the pixels of the upright image."""
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # PIL's transposition that stores it so
    stored = scene().transpose(Image.Transpose(undo[orientation])) if orientation > 1 else scene()
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(stored, "JPEG", quality=95, exif=exif)
    assert box_iou(SQUARE, find_square(client, as_json(content))) > 0.7


def test_every_way_of_sending_is_the_same_image(client: Client, server: str) -> None:
    content = numbered(100)
    plain = base64.b64encode(content).decode()
    ways = [
        plain,
        f"data:image/png;base64,{plain}",
        "\n".join(textwrap.wrap(plain, 76)),
        plain.rstrip("="),
    ]
    ids = {client.embed({"image": {"type": "base64", "value": way}})["image_id"] for way in ways}
    answer = requests.post(
        f"{server}/sam3/embed_image", files={"image": ("a.png", content)}, timeout=PATIENCE_S
    )
    assert ids == {answer.json()["image_id"]}


def multipart(server: str, route: str, request: Any = None, *images: bytes) -> requests.Response:
    parts: list[Any] = [("image", (f"{index}.png", image, "image/png")) for index, image in enumerate(images)]
    if request is not None:
        parts.append(("request", (None, json.dumps(request), "application/json")))
    return requests.post(server + route, files=parts, timeout=PATIENCE_S)


def test_multipart(client: Client, server: str) -> None:
    content = numbered(101)
    parts = multipart(server, "/sam3/concept_segment", {"prompts": BLUE, "format": "rle"}, content)
    assert parts.status_code == 200, parts.text
    body = client.concept({"image": as_json(content), "prompts": BLUE, "format": "rle"})
    assert parts.json()["prompt_results"] == body["prompt_results"]


def test_multipart_request_may_be_a_file_part(server: str) -> None:
    request = ("request.json", json.dumps({"prompts": BLUE}), "application/json")
    files: Any = {"image": ("a.png", numbered(102)), "request": request}
    answer = requests.post(f"{server}/sam3/concept_segment", files=files, timeout=PATIENCE_S)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("charset", ["", "; charset=utf-8"])
def test_multipart_image_needs_no_filename(server: str, client: Client, charset: str) -> None:
    content = numbered(106)
    part = b'--x\r\nContent-Disposition: form-data; name="image"\r\n\r\n' + content + b"\r\n--x--\r\n"
    headers = {"Content-Type": f"multipart/form-data{charset}; boundary=x"}
    answer = requests.post(f"{server}/sam3/embed_image", data=part, headers=headers, timeout=PATIENCE_S)
    assert answer.status_code == 200, answer.text
    assert answer.json()["image_id"] == client.embed({"image": as_json(content)})["image_id"]


def test_multipart_request_keeps_unicode(server: str) -> None:
    request = json.dumps({"prompts": [{"text": "größe 猫"}]}, ensure_ascii=False)
    for part in ((None, request), ("request.json", request)):
        files = {"image": ("a.png", numbered(107)), "request": part}
        answer = requests.post(f"{server}/sam3/concept_segment", files=files, timeout=PATIENCE_S)
        assert answer.json()["prompt_results"][0]["echo"]["text"] == "größe 猫"


def test_multipart_with_several_images_is_a_list(server: str) -> None:
    answer = multipart(server, "/sam3/embed_image", None, numbered(103), numbered(104))
    assert answer.status_code == 200, answer.text
    assert len({one["image_id"] for one in answer.json()}) == 2


def test_multipart_by_id_needs_no_image(client: Client, server: str) -> None:
    client.embed({"image": as_json(numbered(105)), "image_id": "by-part"})
    answer = multipart(server, "/sam3/visual_segment", {"image_id": "by-part", "prompts": []})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("parts", "say"),
    [
        ([("image", ("a.png", b""))], "empty"),
        ([("image", ("a.png", b"GIF89a not really"))], "image"),
    ],
)
def test_bad_multipart_images_are_400(server: str, parts: Any, say: str) -> None:
    answer = requests.post(f"{server}/sam3/embed_image", files=parts, timeout=PATIENCE_S)
    assert answer.status_code == 400
    assert say in answer.json()["message"]


@pytest.mark.parametrize(
    "parts",
    [
        [("other", ("a.png", b"x"))],
        [("image", ("a.png", b"x")), ("request", (None, "{not json"))],
        [("image", ("a.png", b"x")), ("request", (None, "[]"))],
        [("image", ("a.png", b"x")), ("request", (None, json.dumps({"image": as_json(b"y")})))],
    ],
    ids=["no-image", "no-json", "no-object", "image-twice"],
)
def test_malformed_multipart_is_422(server: str, parts: Any) -> None:
    answer = requests.post(f"{server}/sam3/embed_image", files=parts, timeout=PATIENCE_S)
    assert answer.status_code == 422, answer.text


@pytest.mark.parametrize("name", ["prompts", "format", "images", "file", "api_key", "image_id"])
def test_other_parts_are_refused_by_name(server: str, name: str) -> None:
    parts: Any = [("image", ("a.png", numbered(108))), (name, (None, "rle"))]
    answer = requests.post(f"{server}/sam3/visual_segment", files=parts, timeout=PATIENCE_S)
    assert answer.status_code == 422, answer.text
    (item,) = answer.json()["detail"]
    assert item["loc"] == ["body", name]
    assert "`request`" in item["msg"]


def test_two_request_parts_are_refused(server: str) -> None:
    parts: Any = [("image", ("a.png", numbered(109)))] + [("request", (None, "{}"))] * 2
    answer = requests.post(f"{server}/sam3/embed_image", files=parts, timeout=PATIENCE_S)
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "request"]


@pytest.mark.parametrize("keep", [0.0, 0.02, 0.5, 0.99])
def test_a_cut_multipart_upload_is_called_that(server: str, keep: float) -> None:
    parts = {"image": ("a.png", numbered(110)), "request": (None, "{}")}
    whole = requests.Request("POST", f"{server}/sam3/embed_image", files=parts).prepare()
    assert isinstance(whole.body, bytes)
    cut = whole.body[: int(len(whole.body) * keep)]
    headers = {"Content-Type": whole.headers["Content-Type"]}
    answer = requests.post(whole.url or "", data=cut, headers=headers, timeout=PATIENCE_S)
    assert answer.status_code == 422
    assert "the upload was cut" in answer.json()["detail"][0]["msg"]


def test_a_cut_json_upload_is_called_that(server: str) -> None:
    headers = {"Content-Type": "application/json"}
    cut = json.dumps({"image": as_json(numbered(111))})[:-20]
    answer = requests.post(f"{server}/sam3/embed_image", data=cut, headers=headers, timeout=PATIENCE_S)
    assert answer.status_code == 422
    assert "the upload was cut" in answer.json()["detail"][0]["msg"]


@pytest.mark.parametrize("prefix", ["data:image/png;base64,", "DATA:;base64,", " data:image/png;x=y;base64,"])
def test_a_data_url_is_the_image_that_it_holds(client: Client, prefix: str) -> None:
    content = numbered(112)
    text = base64.b64encode(content).decode()
    by_content = client.embed({"image": as_json(content)})
    for url in (prefix + text, prefix + quote(text, safe="")):
        assert client.embed({"image": {"type": "url", "value": url}})["image_id"] == by_content["image_id"]


@pytest.mark.parametrize(
    ("image", "say"),
    [
        ({"type": "url", "value": "data:image/svg+xml,%3Csvg/%3E"}, "base64"),
        ({"type": "url", "value": "data:image/png;base64,%%%"}, "not valid base64"),
        ({"type": "url", "value": "data:image/png;base64,"}, "empty"),
        ({"type": "base64", "value": "https://example.com/a.png"}, "looks like a URL"),
    ],
)
def test_values_of_another_type_are_told(client: Client, image: Any, say: str) -> None:
    assert say in client.embed({"image": image}, expect=400)["message"]


@pytest.mark.parametrize("body", [b"--x\r\nnonsense", b"", b"--x\r\n\r\nno name\r\n--x--\r\n"])
@pytest.mark.parametrize("boundary", ["; boundary=x", ""])
def test_broken_multipart_is_422(server: str, body: bytes, boundary: str) -> None:
    headers = {"Content-Type": f"multipart/form-data{boundary}"}
    answer = requests.post(f"{server}/sam3/embed_image", data=body, headers=headers, timeout=PATIENCE_S)
    assert answer.status_code == 422, answer.text


@pytest.mark.parametrize(
    ("image", "say"),
    [
        ({"type": "base64", "value": "%%%"}, "base64"),
        ({"type": "base64", "value": "YWJj!"}, "base64"),
        ({"type": "base64", "value": "Ümlaut"}, "base64"),
        ({"type": "base64", "value": ""}, "empty"),
        ({"type": "base64", "value": "data:image/png;base64,"}, "empty"),
        ({"type": "base64", "value": None}, "empty"),
        ({"type": "base64"}, "empty"),
        ({"type": "base64", "value": base64.b64encode(b"not an image").decode()}, "not an image"),
        ({"type": "base64", "value": base64.b64encode(b"%PDF-1.7 ...").decode()}, "not an image"),
        ({"type": "base64", "value": base64.b64encode(b"<svg xmlns='x'/>").decode()}, "not an image"),
        ({"type": "numpy", "value": [[1, 2], [3, 4]]}, "numpy"),
        ({"type": "numpy", "value": "gASVDAAAAAAAAABLAS4="}, "numpy"),
        ({"type": "numpy_object", "value": {"a": 1}}, "numpy_object"),
        ({"type": "pickle", "value": "gASVDAAAAAAAAABLAS4="}, "pickle"),
        ({"type": "file", "value": "/etc/passwd"}, "file"),
        ({"type": "multipart", "value": "x"}, "multipart"),
        ({"type": "path", "value": "x"}, "not known"),
        ({"type": "", "value": "x"}, "not known"),
    ],
)
def test_images_that_are_refused(client: Client, image: Any, say: str) -> None:
    message = client.embed({"image": image}, expect=400)["message"]
    assert say in message
    assert "root:" not in message


@pytest.mark.parametrize("keep", [20, 100, 400])
def test_truncated_files_are_400(client: Client, keep: int) -> None:
    for kind in ("PNG", "JPEG", "WEBP"):
        client.embed({"image": as_json(encoded(scene(), kind)[:keep])}, expect=400)


@pytest.mark.parametrize(
    "image",
    ["aGk=", 5, [], [[]], {"value": "aGk="}, {"type": 5, "value": "x"}, {"type": "base64", "value": 5}, None],
)
def test_images_of_a_wrong_form_are_422(client: Client, image: Any) -> None:
    client.embed({"image": image}, expect=422)


def bomb(width: int, height: int) -> bytes:
    """A small PNG file that says it is huge."""
    file = bytearray(encoded(Image.new("1", (8, 8))))
    file[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    file[29:33] = zlib.crc32(bytes(file[12:29])).to_bytes(4, "big")
    return bytes(file)


@pytest.mark.parametrize("size", [(20_000, 20_000), (60_000, 60_000), (2_000_000_000, 1)])
def test_decompression_bombs_are_413(client: Client, size: tuple[int, int]) -> None:
    message = client.embed({"image": as_json(bomb(*size))}, expect=413)["message"]
    assert "pixels" in message


def test_a_hundred_megapixels_are_read(client: Client) -> None:
    file = io.BytesIO()
    Image.new("1", (10_000, 10_000)).save(file, "PNG")
    client.embed({"image": as_json(file.getvalue())})
