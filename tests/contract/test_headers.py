"""The headers of every answer: ids, timings, the model; compression and CORS where asked for."""

import re
from typing import Any

import pytest
import requests

from tests.contract.conftest import Client, ServerFactory
from tests.support.fake_segmenter import FakeSegmenter
from tests.support.patience import PATIENCE_S
from tests.support.scenes import as_json, encoded, numbered, scene

IMAGE = as_json(encoded(scene()))
PROMPTS = [{"type": "text", "text": "red circle"}]
HEADERS = ("X-Request-ID", "X-Processing-Time", "X-Model-Id", "Server-Timing")


@pytest.mark.parametrize(
    ("method", "route", "body", "status"),
    [
        ("GET", "/", None, 200),
        ("GET", "/info", None, 200),
        ("GET", "/docs", None, 200),
        ("GET", "/openapi.json", None, 200),
        ("GET", "/readiness", None, 200),
        ("GET", "/healthz", None, 200),
        ("GET", "/nowhere", None, 404),
        ("GET", "/sam3/embed_image", None, 405),
        ("POST", "/sam3/embed_image", {"image": IMAGE}, 200),
        ("POST", "/sam3/embed_image", {}, 422),
        ("POST", "/sam3/embed_image", {"image": {"type": "file", "value": "x"}}, 400),
        ("POST", "/sam3/concept_segment", {"image_id": "never seen", "prompts": PROMPTS}, 404),
    ],
)
def test_every_answer_has_the_headers(server: str, method: str, route: str, body: Any, status: int) -> None:
    answer = requests.request(method, server + route, json=body, timeout=PATIENCE_S)
    assert answer.status_code == status
    for name in HEADERS:
        assert answer.headers[name]
    assert float(answer.headers["X-Processing-Time"]) >= 0
    assert answer.headers["X-Model-Id"] == "sam3/sam3_final"


def test_internal_errors_have_the_headers(start_server: ServerFactory) -> None:
    with start_server(FakeSegmenter(error=RuntimeError())) as url:
        answer = requests.post(f"{url}/sam3/embed_image", json={"image": IMAGE}, timeout=PATIENCE_S)
        assert answer.status_code == 500
        for name in HEADERS:
            assert answer.headers[name]


def test_the_request_id_is_echoed_or_made(server: str) -> None:
    echoed = requests.get(f"{server}/info", headers={"X-Request-ID": "abc-123"}, timeout=PATIENCE_S)
    assert echoed.headers["X-Request-ID"] == "abc-123"
    made = [requests.get(f"{server}/info", timeout=PATIENCE_S).headers["X-Request-ID"] for _ in range(2)]
    assert len(set(made)) == 2


def test_an_unfit_request_id_is_replaced(start_server: ServerFactory) -> None:
    with start_server() as url:
        for unfit in ("x" * 129, "a b", "caf\xe9"):
            answer = requests.get(
                f"{url}/info", headers={"X-Request-ID": unfit.encode("latin-1")}, timeout=PATIENCE_S
            )
            assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-ID"])


@pytest.mark.parametrize("name", ["Authorization", "User-Agent", "X-Anything"])
def test_bytes_that_are_no_utf8_are_400(server: str, name: str) -> None:
    for value, status in ((b"caf\xe9", 400), ("café".encode(), 200), ("\U0001f408".encode(), 200)):
        answer = requests.get(f"{server}/info", headers={name: value}, timeout=PATIENCE_S)
        assert answer.status_code == status, value
    assert (
        "UTF-8"
        in requests.get(f"{server}/info", headers={name: b"\xff"}, timeout=PATIENCE_S).json()["message"]
    )


def test_server_timing_tells_the_stages_and_the_cache(client: Client) -> None:
    body = {"image": as_json(numbered(400)), "prompts": PROMPTS}
    first, second = (client.send("/sam3/concept_segment", body).headers["Server-Timing"] for _ in range(2))
    stages = r"decode;dur=[\d.]+, cache;desc={}, encode;dur=[\d.]+, prompt;dur=[\d.]+, post;dur=[\d.]+"
    assert re.search(stages.format("miss"), first)
    assert re.search(stages.format("hit"), second)


def test_server_timing_of_a_list_sums_up(client: Client) -> None:
    images = [as_json(numbered(401)), as_json(numbered(402))]
    client.embed({"image": images[0]})
    mixed = client.send("/sam3/embed_image", {"image": images}).headers["Server-Timing"]
    hot = client.send("/sam3/embed_image", {"image": images}).headers["Server-Timing"]
    assert "cache;desc=miss" in mixed
    assert "cache;desc=hit" in hot


def test_model_id_is_the_answering_models(start_server: ServerFactory) -> None:
    with start_server(model_ids="sam3/sam3_final,sam3/mine") as url:
        body = {"image": IMAGE, "prompts": PROMPTS, "model_id": "sam3/mine"}
        assert Client(url).send("/sam3/concept_segment", body).headers["X-Model-Id"] == "sam3/mine"


@pytest.mark.parametrize("given", [{}, {"model_id": None}, {"model_id": "sam3/sam3_final"}])
def test_a_model_of_another_name_answers_requests_that_name_the_hosted_one_or_none(
    start_server: ServerFactory, given: dict[str, str | None]
) -> None:
    with start_server(model_ids="acme/parts/3") as url:
        body = {"image": IMAGE, "prompts": PROMPTS, **given}
        assert Client(url).send("/sam3/concept_segment", body).headers["X-Model-Id"] == "acme/parts/3"


def test_large_answers_are_compressed_when_asked_for(start_server: ServerFactory) -> None:
    with start_server(gzip_min_bytes=500) as url:
        body = {"image": IMAGE, "prompts": PROMPTS * 4}
        asked = Client(url).send("/sam3/concept_segment", body, headers={"Accept-Encoding": "gzip"})
        plain = Client(url).send("/sam3/concept_segment", body, headers={"Accept-Encoding": "identity"})
        small = Client(url).send("/sam3/embed_image", body, headers={"Accept-Encoding": "gzip"})
        assert asked.headers["content-encoding"] == "gzip"
        assert "content-encoding" not in plain.headers
        assert "content-encoding" not in small.headers
        assert asked.json()["prompt_results"] == plain.json()["prompt_results"]
        assert int(asked.headers["content-length"]) < int(plain.headers["content-length"])


@pytest.mark.parametrize(
    ("accepted", "compressed"),
    [
        ("gzip;q=0", False),
        ("gzip; q=0.0, deflate", False),
        ("*;q=0", False),
        ("gzip;q=0, *", False),
        ("gzip;q=oops", False),
        ("br", False),
        ("", False),
        ("notgzip", False),
        ("gzip;q=0.1", True),
        ("br, GZIP", True),
        ("*", True),
    ],
)
def test_compression_is_as_accepted(start_server: ServerFactory, accepted: str, compressed: bool) -> None:
    with start_server(gzip_min_bytes=0) as url:
        answer = requests.get(
            f"{url}/openapi.json", headers={"Accept-Encoding": accepted}, timeout=PATIENCE_S
        )
    assert (answer.headers.get("content-encoding") == "gzip") == compressed
    assert answer.json()["openapi"]


@pytest.mark.parametrize(
    "route",
    [
        "/",
        "/info",
        "/docs",
        "/openapi.json",
        "/readiness",
        "/healthz",
        "/sam3/images",
        "/docs/assets/swagger-ui.css",
    ],
)
def test_head_answers_as_get_without_the_body(server: str, route: str) -> None:
    asked = {"Accept-Encoding": "identity"}
    head, get = (
        requests.request(one, server + route, headers=asked, timeout=PATIENCE_S) for one in ("HEAD", "GET")
    )
    assert (head.status_code, head.content) == (get.status_code, b"") == (200, b"")
    assert head.headers["content-type"] == get.headers["content-type"]
    if route != "/sam3/images":  # which holds times
        assert head.headers["content-length"] == get.headers["content-length"]
    for name in HEADERS:
        assert head.headers[name]


def test_head_of_a_route_without_get_is_405(server: str) -> None:
    answer = requests.head(f"{server}/sam3/embed_image", timeout=PATIENCE_S)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_no_cors_by_default(start_server: ServerFactory) -> None:
    with start_server() as url:
        answer = requests.get(f"{url}/info", headers={"Origin": "https://app.example"}, timeout=PATIENCE_S)
        assert "access-control-allow-origin" not in answer.headers


def test_cors_as_configured(start_server: ServerFactory) -> None:
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    with start_server(FakeSegmenter(error=RuntimeError()), cors_origins="https://app.example") as url:
        route = f"{url}/sam3/embed_image"
        preflight = requests.options(route, headers=asked, timeout=PATIENCE_S)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == "https://app.example"
        assert preflight.headers["X-Request-ID"]
        other = requests.options(
            route, headers={**asked, "Origin": "https://evil.example"}, timeout=PATIENCE_S
        )
        assert "access-control-allow-origin" not in other.headers
        assert (other.status_code, other.json()) == (400, {"message": "Disallowed CORS origin"})
        # An error must be readable by the page that caused it.
        failed = requests.post(
            route, json={"image": IMAGE}, headers={"Origin": asked["Origin"]}, timeout=PATIENCE_S
        )
        assert failed.status_code == 500
        assert failed.headers["access-control-allow-origin"] == "https://app.example"
        assert "X-Request-ID" in failed.headers["access-control-expose-headers"]
