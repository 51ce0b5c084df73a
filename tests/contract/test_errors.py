"""Every row of the table of errors, as a client meets it."""

import asyncio
import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from deployments.protocol import DeadlineExceeded, Overloaded
from sam3_engine.errors import ImageTooLarge
from tests.contract.conftest import Client, ServerFactory
from tests.support.fake_segmenter import FakeSegmenter
from tests.support.patience import PATIENCE_S
from tests.support.scenes import as_json, encoded, numbered, scene

IMAGE = as_json(encoded(scene()))
RED = {"type": "text", "text": "red circle"}
BOX = {"x": 1, "y": 1, "width": 5, "height": 5}
CONCEPT = "/sam3/concept_segment"
VISUAL = "/sam3/visual_segment"
EMBED = "/sam3/embed_image"


def concept(**fields: Any) -> dict[str, Any]:
    return {"image": IMAGE, "prompts": [RED], **fields}


def prompt(**fields: Any) -> dict[str, Any]:
    return concept(prompts=[fields])


def visual(**fields: Any) -> dict[str, Any]:
    return {"image": IMAGE, "prompts": [{"points": [{"x": 1, "y": 1}]}], **fields}


INVALID = {
    "no image": (CONCEPT, {"prompts": [RED]}),
    "no prompts": (CONCEPT, {"image": IMAGE}),
    "0 prompts": (CONCEPT, concept(prompts=[])),
    "17 prompts": (CONCEPT, concept(prompts=[RED] * 17)),
    "prompts no list": (CONCEPT, concept(prompts=RED)),
    "prompt no object": (CONCEPT, concept(prompts=["red"])),
    "empty prompt": (CONCEPT, prompt()),
    "empty text": (CONCEPT, prompt(type="text", text="")),
    "blank text": (CONCEPT, prompt(type="text", text=" \n")),
    "text too long": (CONCEPT, prompt(type="text", text="a" * 10_000)),
    "text no string": (CONCEPT, prompt(type="text", text=5)),
    "type no string": (CONCEPT, prompt(type=5, text="red")),
    "visual without a box": (CONCEPT, prompt(type="visual", text="red")),
    "visual with no boxes": (CONCEPT, prompt(type="visual", boxes=[])),
    "labels without boxes": (CONCEPT, prompt(type="text", text="red", box_labels=[1])),
    "too few labels": (CONCEPT, prompt(type="visual", boxes=[BOX, BOX], box_labels=[1])),
    "too many labels": (CONCEPT, prompt(type="visual", boxes=[BOX], box_labels=[1, 0])),
    "label 2": (CONCEPT, prompt(type="visual", boxes=[BOX], box_labels=[2])),
    "label -1": (CONCEPT, prompt(type="visual", boxes=[BOX], box_labels=[-1])),
    "label text": (CONCEPT, prompt(type="visual", boxes=[BOX], box_labels=["1"])),
    "box without height": (CONCEPT, prompt(type="visual", boxes=[{"x": 1, "y": 1, "width": 5}])),
    "box without y1": (CONCEPT, prompt(type="visual", boxes=[{"x0": 1, "y0": 1, "x1": 5}])),
    "negative width": (CONCEPT, prompt(type="visual", boxes=[{**BOX, "width": -1}])),
    "box as list": (CONCEPT, prompt(type="visual", boxes=[[1, 1, 5, 5]])),
    "coordinate beyond 1e9": (CONCEPT, prompt(type="visual", boxes=[{**BOX, "x": 1.1e9}])),
    "coordinate as text": (CONCEPT, prompt(type="visual", boxes=[{**BOX, "x": "1"}])),
    "257 boxes": (CONCEPT, prompt(type="visual", boxes=[BOX] * 257)),
    "threshold above 1": (CONCEPT, concept(output_prob_thresh=1.01)),
    "threshold below 0": (CONCEPT, concept(output_prob_thresh=-0.01)),
    "threshold as text": (CONCEPT, concept(output_prob_thresh="0.5")),
    "threshold true": (CONCEPT, concept(output_prob_thresh=True)),
    "prompt's threshold above 1": (CONCEPT, prompt(type="text", text="red", output_prob_thresh=2)),
    "nms above 1": (CONCEPT, concept(nms_iou_threshold=1.5)),
    "nms below 0": (CONCEPT, concept(nms_iou_threshold=-1)),
    "format no string": (CONCEPT, concept(format=1)),
    "model_id no string": (CONCEPT, concept(model_id=1)),
    "api_key no string": (CONCEPT, concept(api_key=1)),
    "nothing to segment": (VISUAL, {"prompts": []}),
    "point without y": (VISUAL, visual(prompts=[{"points": [{"x": 1}]}])),
    "points no list": (VISUAL, visual(prompts=[{"points": {"x": 1, "y": 1}}])),
    "box of corners": (VISUAL, visual(prompts=[{"box": {"x0": 1, "y0": 1, "x1": 5, "y1": 5}}])),
    "positive as text": (VISUAL, visual(prompts=[{"points": [{"x": 1, "y": 1, "positive": "yes"}]}])),
    "prompts as text": (VISUAL, visual(prompts="red")),
    "257 prompts": (VISUAL, visual(prompts=[{}] * 257)),
    "257 points": (VISUAL, visual(prompts=[{"points": [{"x": 1, "y": 1}] * 257}])),
    "multimask as text": (VISUAL, visual(multimask_output="true")),
    "save_logits as number": (VISUAL, visual(save_logits_to_cache=1)),
    "embed by id alone": (EMBED, {"image_id": "x"}),
}


@pytest.mark.parametrize("case", INVALID)
def test_invalid_requests_are_422(client: Client, case: str) -> None:
    route, body = INVALID[case]
    answer = client.post(route, body, expect=422)
    assert set(answer) == {"detail"}
    for item in answer["detail"]:
        assert set(item) == {"loc", "msg", "type"}  # above all no `input`
        assert item["loc"][0] == "body"
    assert IMAGE["value"][:40] not in str(answer)


def test_a_thousand_mistakes_are_told_by_the_first_of_each_list(client: Client) -> None:
    wrong = {"points": [{"x": "a", "y": "b"}] * 256}
    detail = client.visual(visual(prompts=[wrong] * 256), expect=422)["detail"]
    assert len(detail) == 2 * 256


def test_422_says_where(client: Client) -> None:
    body = concept(prompts=[RED, {"type": "visual", "boxes": [BOX, {**BOX, "x": "one"}]}])
    (item,) = client.concept(body, expect=422)["detail"]
    assert item == {
        "loc": ["body", "prompts", 1, "boxes", 1, "x"],
        "msg": "Input should be a valid number",
        "type": "float_type",
    }


@pytest.mark.parametrize("extra", [{"x0": 1, "y0": 1, "x1": 6, "y1": 6}, {"x0": 1}, {"y1": 6}])
def test_a_box_in_both_forms_is_422_that_names_the_fields(client: Client, extra: dict[str, int]) -> None:
    (item,) = client.concept(prompt(type="visual", boxes=[BOX, {**BOX, **extra}]), expect=422)["detail"]
    assert item["loc"] == ["body", "prompts", 0, "boxes", 1]
    assert f"not by both: this one has x, y, width, height, {', '.join(extra)}" in item["msg"]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"not json",
        b"[]",
        b'"text"',
        b"null",
        b"5",
        b"\xff\xfe{}",
        b'{"image": NaN}',
        b'{"image_id": "\\ud800"}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"prompts": ' + b"[" * 150 + b"]" * 150 + b', "image": ' + b"[" * 150 + b"]" * 150 + b"}",
    ],
)
def test_bodies_that_are_no_json_object_are_422(server: str, raw: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    for route in (CONCEPT, VISUAL, EMBED):
        answer = requests.post(server + route, data=raw, headers=headers, timeout=PATIENCE_S)
        assert answer.status_code == 422, answer.text
        assert set(answer.json()) == {"detail"}


@pytest.mark.parametrize("text", [b"\\ud800", b"\\ud800 star", b"star \\udcff", b"\xff\xfe"])
def test_a_text_that_is_not_utf8_is_told_in_words(server: str, text: bytes) -> None:
    raw, headers = b'{"prompts": [{"text": "' + text + b'"}]}', {"Content-Type": "application/json"}
    answer = requests.post(server + CONCEPT, data=raw, headers=headers, timeout=PATIENCE_S)
    (problem,) = answer.json()["detail"]
    assert problem["msg"].startswith("the JSON is not valid UTF-8, or an escape in it is half of a surrogate")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "9" * 400])
def test_numbers_without_end_are_422(server: str, number: str) -> None:
    headers = {"Content-Type": "application/json"}
    bodies = {
        CONCEPT: f'{{"image": {{"type": "url", "value": "x"}}, "prompts": [{{"text": "a"}}],'
        f' "output_prob_thresh": {number}}}',
        VISUAL: f'{{"image_id": "x", "prompts": [{{"points": [{{"x": {number}, "y": 1}}]}}]}}',
    }
    for route, raw in bodies.items():
        answer = requests.post(server + route, data=raw, headers=headers, timeout=PATIENCE_S)
        assert answer.status_code == 422, answer.text


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/xml", None])
def test_other_content_types_are_422(server: str, kind: str | None) -> None:
    headers = {"Content-Type": kind} if kind else {}
    answer = requests.post(server + EMBED, data=b'{"image": 1}', headers=headers, timeout=PATIENCE_S)
    assert answer.status_code == 422
    assert "application/json" in answer.json()["detail"][0]["msg"]


@pytest.mark.parametrize(
    ("route", "body"),
    [
        (CONCEPT, concept(format="binary")),
        (CONCEPT, concept(format="")),
        (CONCEPT, concept(format="Polygon")),
        (VISUAL, visual(format="png")),
    ],
)
def test_unsupported_formats_are_400_and_listed(client: Client, route: str, body: Any) -> None:
    message = client.post(route, body, expect=400)["message"]
    assert repr(body["format"]) in message
    assert "rle" in message


@pytest.mark.parametrize("model_id", ["", "/", "a//b", "sam3/..//x", "a b", "x" * 400, "sam3/sam3_final\n"])
def test_malformed_model_ids_are_400(client: Client, model_id: str) -> None:
    assert "malformed" in client.concept(concept(model_id=model_id), expect=400)["message"]


@pytest.mark.parametrize("model_id", ["sam3/other", "workspace/1", "yolov8n-640"])
def test_unknown_models_are_404(client: Client, model_id: str) -> None:
    message = client.concept(concept(model_id=model_id), expect=404)["message"]
    assert model_id in message
    assert "sam3/sam3_final" in message


def test_unknown_routes_have_messages(server: str) -> None:
    missing = requests.get(f"{server}/sam4", timeout=PATIENCE_S)
    assert missing.status_code == 404
    assert set(missing.json()) == {"message"}


METHODS = {
    "/": "GET, HEAD",
    "/info": "GET, HEAD",
    "/docs": "GET, HEAD",
    "/docs/assets/swagger-ui.css": "GET, HEAD",
    "/openapi.json": "GET, HEAD",
    CONCEPT: "POST",
    VISUAL: "POST",
    EMBED: "POST",
    "/models": "GET, HEAD",
    "/sam3/images": "GET, HEAD",
    "/sam3/images/scan": "DELETE",
    "/playground/picture": "GET, HEAD, POST",
    "/workflows/blocks/describe": "GET, HEAD, POST",
    "/anyone/workflows/any": "POST",
}


EVERY_METHOD = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")


@pytest.mark.parametrize(
    ("route", "method"),
    [(route, one) for route in METHODS for one in EVERY_METHOD if one not in METHODS[route]],
)
def test_other_methods_are_405_that_says_which_there_are(server: str, route: str, method: str) -> None:
    wrong = requests.request(method, server + route, timeout=PATIENCE_S)
    assert (wrong.status_code, wrong.headers["allow"]) == (405, METHODS[route])
    if method != "HEAD":
        assert wrong.json() == {"message": f"this route has no such method: it has {METHODS[route]}"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/infer/object_detection"),
        ("POST", "/infer/instance_segmentation"),
        ("POST", "/model/add"),
        ("GET", "/model/registry"),
        ("POST", "/sam2/embed_image"),
        ("POST", "/dataset/3"),
        ("GET", "/nowhere"),
    ],
)
def test_routes_that_are_not_here_are_404_that_says_what_there_is(
    server: str, method: str, path: str
) -> None:
    answer = requests.request(method, server + path, json={}, timeout=PATIENCE_S, allow_redirects=False)
    assert answer.status_code == 404, answer.text
    for route in ("POST /sam3/concept_segment", "POST /sam3/visual_segment", "GET /info", "/docs"):
        assert route in answer.json()["message"]


def test_a_slash_too_many_after_the_base_url_makes_no_difference(client: Client) -> None:
    client.embed({"image": IMAGE})
    assert client.post("//sam3/embed_image", {"image": IMAGE})["image_id"]
    assert client.post("///sam3/concept_segment", concept())["prompt_results"]
    assert requests.get(f"{client.url}//info", timeout=PATIENCE_S).json()["name"] == "sam3-serve"


def test_a_path_with_a_line_break_is_no_route(server: str) -> None:
    answer = requests.post(f"{server}/sam3/embed_image%0A", json={"image": IMAGE}, timeout=PATIENCE_S)
    assert answer.status_code == 422


def test_bodies_over_the_limit_are_413(start_server: ServerFactory) -> None:
    with start_server(max_body_bytes=100_000) as url:
        large = {"image": {"type": "base64", "value": "A" * 100_000}}
        assert "100000 bytes" in Client(url).embed(large, expect=413)["message"]

        def chunks() -> Iterator[bytes]:
            yield b'{"image": {"type": "base64", "value": "'
            for _ in range(20):
                yield b"A" * 10_000
            yield b'"}}'

        headers = {"Content-Type": "application/json"}
        answer = requests.post(url + EMBED, data=chunks(), headers=headers, timeout=PATIENCE_S)
        assert answer.status_code == 413
        form = requests.post(url + EMBED, files={"image": ("a.png", b"A" * 200_000)}, timeout=PATIENCE_S)
        assert form.status_code == 413
        assert Client(url).embed({"image": as_json(numbered(300))})["image_id"]


def test_images_over_the_pixel_limit_are_413(start_server: ServerFactory) -> None:
    with start_server(FakeSegmenter(max_pixels=1000)) as url:
        assert "megapixels" in Client(url).embed({"image": IMAGE}, expect=413)["message"]


def test_too_many_requests_are_503_with_retry_after(start_server: ServerFactory) -> None:
    with start_server(FakeSegmenter(error=Overloaded(2.2))) as url:
        answer = requests.post(url + EMBED, json={"image": IMAGE}, timeout=PATIENCE_S)
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "3"
        assert "busy" in answer.json()["message"]


@pytest.mark.parametrize(
    "error", [DeadlineExceeded(), ImageTooLarge("12 megapixels"), RuntimeError("secret")]
)
def test_errors_of_the_segmenter(start_server: ServerFactory, error: Exception) -> None:
    expected = {
        DeadlineExceeded: (504, "the request took too long and was given up"),
        ImageTooLarge: (413, "12 megapixels"),
        RuntimeError: (500, "Internal error."),
    }[type(error)]
    with start_server(FakeSegmenter(error=error)) as url:
        for route, body in ((CONCEPT, concept()), (VISUAL, visual()), (EMBED, {"image": IMAGE})):
            answer = requests.post(url + route, json=body, timeout=PATIENCE_S)
            assert (answer.status_code, answer.json()) == (expected[0], {"message": expected[1]})
            assert answer.headers["x-request-id"]


def test_a_passed_deadline_is_504(start_server: ServerFactory) -> None:
    with start_server(FakeSegmenter(delay_s=30), request_timeout_s=0.2) as url:
        assert Client(url).embed({"image": IMAGE}, expect=504)["message"]


def test_every_answer_is_finite(client: Client) -> None:
    """JSON has no NaN: any parser can read the answer."""
    answer = client.concept(concept())
    for one in answer["prompt_results"][0]["predictions"]:
        assert math.isfinite(one["confidence"])


async def test_a_client_that_goes_away_leaves_the_server_well(server: str) -> None:
    host, _, port = server.removeprefix("http://").partition(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /sam3/embed_image HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n")
    writer.write(b"Content-Length: 1000\r\n\r\n{")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    answer = await asyncio.to_thread(requests.get, f"{server}/healthz", timeout=PATIENCE_S)
    assert answer.status_code == 200


def test_a_full_server_refuses_with_the_headers_of_every_answer(start_server: ServerFactory) -> None:
    """One long request fills it; the next is refused at once, and later all is well."""
    segmenter = FakeSegmenter(delay_s=PATIENCE_S)
    with start_server(segmenter, max_in_flight=1) as url, ThreadPoolExecutor(1) as threads:
        first = threads.submit(requests.post, url + EMBED, json={"image": IMAGE}, timeout=PATIENCE_S)
        while not segmenter.asked:
            time.sleep(0.005)
        refused = requests.post(url + EMBED, json={"image": IMAGE}, timeout=PATIENCE_S)
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        assert "x-processing-time" in refused.headers
        assert refused.json()["message"] == "the server is busy: too many requests are waiting"
        assert requests.get(url + "/readiness", timeout=PATIENCE_S).status_code == 200
        segmenter.hurried = True
        assert first.result().status_code == 200
        assert requests.post(url + EMBED, json={"image": IMAGE}, timeout=PATIENCE_S).status_code == 200
