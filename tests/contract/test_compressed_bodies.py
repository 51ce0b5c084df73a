"""Request bodies with a `Content-Encoding`."""

import gzip
import json
from typing import Any

import pytest
import requests

from tests.contract.conftest import Client, ServerFactory
from tests.support.fake_segmenter import FakeSegmenter
from tests.support.patience import PATIENCE_S
from tests.support.scenes import as_json, numbered

ROUTE = "/sam3/embed_image"


def send(url: str, body: bytes, encoding: str = "gzip", kind: str = "application/json") -> requests.Response:
    headers = {"Content-Type": kind, "Content-Encoding": encoding}
    return requests.post(url + ROUTE, data=body, headers=headers, timeout=PATIENCE_S)


def document(number: int) -> dict[str, Any]:
    return {"image": as_json(numbered(number))}


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP"])
def test_gzip_is_expanded(client: Client, encoding: str) -> None:
    body = document(950)
    answer = send(client.url, gzip.compress(json.dumps(body).encode()), encoding)
    assert answer.status_code == 200, answer.text
    assert answer.json()["image_id"] == client.embed(body)["image_id"]


def test_several_parts_of_gzip_are_one_body(client: Client) -> None:
    text = json.dumps(document(951)).encode()
    answer = send(client.url, gzip.compress(text[:100]) + gzip.compress(text[100:]))
    assert answer.status_code == 200, answer.text


def test_a_form_may_be_compressed_too(client: Client) -> None:
    form = requests.Request("POST", client.url, files={"image": ("a.png", numbered(952))}).prepare()
    assert isinstance(form.body, bytes)
    answer = send(client.url, gzip.compress(form.body), kind=form.headers["Content-Type"])
    assert answer.status_code == 200, answer.text


def test_identity_is_no_encoding(client: Client) -> None:
    assert send(client.url, json.dumps(document(953)).encode(), "identity").status_code == 200


@pytest.mark.parametrize("encoding", ["br", "deflate", "zstd", "gzip, gzip", "nonsense"])
def test_other_encodings_are_415_that_say_so(client: Client, encoding: str) -> None:
    answer = send(client.url, b"x", encoding)
    assert answer.status_code == 415
    assert "gzip" in answer.json()["message"]
    assert answer.headers["accept-encoding"] == "gzip, identity"


def test_a_body_that_is_not_gzip_is_422(client: Client) -> None:
    answer = send(client.url, b"{}")
    assert answer.status_code == 422
    assert "not gzip" in answer.json()["detail"][0]["msg"]


def test_a_cut_gzip_body_is_called_that(client: Client) -> None:
    whole = gzip.compress(json.dumps(document(954)).encode())
    answer = send(client.url, whole[: len(whole) // 2])
    assert answer.status_code == 422
    assert "the upload was cut" in answer.json()["detail"][0]["msg"]


def test_a_small_body_that_expands_beyond_the_limit_is_413(start_server: ServerFactory) -> None:
    segmenter = FakeSegmenter()
    with start_server(segmenter, max_body_bytes=100_000) as url:
        bomb = gzip.compress(b" " * 50_000_000)
        assert len(bomb) < 100_000
        answer = send(url, bomb)
        assert answer.status_code == 413
        assert "100000 bytes" in answer.json()["message"]
        assert segmenter.asked == []


def test_an_empty_compressed_body_is_an_empty_body(client: Client) -> None:
    assert send(client.url, b"").status_code == 422
