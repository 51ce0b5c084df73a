"""API keys, where a key file is configured."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from serve_app.http.tenants import keyfile
from tests.contract.conftest import Client, ServerFactory
from tests.support.fake_segmenter import FakeSegmenter
from tests.support.patience import PATIENCE_S
from tests.support.scenes import as_json, encoded, numbered, scene

IMAGE = as_json(encoded(scene()))
EMBED = "/sam3/embed_image"
WRONG = "s3k_wrong-wrong-wrong"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


Guarded = tuple[str, str, FakeSegmenter]
"""A URL, the key of the tenant acme, and the server behind the URL."""


@pytest.fixture
def guarded(key_file: Path, start_server: ServerFactory) -> Iterator[Guarded]:
    key = keyfile.add(key_file, "acme")
    segmenter = FakeSegmenter()
    with start_server(segmenter, api_keys_file=key_file) as url:
        yield url, key, segmenter


def ask(
    url: str, query: str | None = None, bearer: str | None = None, body: str | None = None
) -> requests.Response:
    return requests.post(
        url + EMBED,
        params={"api_key": query} if query is not None else None,
        headers={"Authorization": f"Bearer {bearer}"} if bearer is not None else None,
        json={"image": IMAGE, **({"api_key": body} if body is not None else {})},
        timeout=PATIENCE_S,
    )


@pytest.mark.parametrize("way", ["query", "bearer", "body"])
def test_a_key_in_any_of_the_three_places(guarded: Guarded, way: str) -> None:
    url, key, segmenter = guarded
    assert ask(url, **{way: key}).status_code == 200
    assert segmenter.tenants == ["acme"]
    wrong = ask(url, **{way: WRONG})
    assert wrong.status_code == 401
    assert wrong.json() == {"status": 401, "message": "Unauthorized api_key"}


def test_the_first_place_decides(guarded: Guarded) -> None:
    url, key, _ = guarded
    assert ask(url, query=key, bearer=WRONG, body=WRONG).status_code == 200
    assert ask(url, bearer=key, body=WRONG).status_code == 200
    assert ask(url, query=WRONG, bearer=key, body=key).status_code == 401
    assert ask(url, bearer=WRONG, body=key).status_code == 401


def test_multipart_with_a_key(guarded: Guarded) -> None:
    url, key, _ = guarded
    files: Any = {"image": ("a.png", numbered(1)), "request": (None, f'{{"api_key": "{key}"}}')}
    assert requests.post(url + EMBED, files=files, timeout=PATIENCE_S).status_code == 200
    files = {"image": ("a.png", numbered(1))}
    assert requests.post(url + EMBED, files=files, timeout=PATIENCE_S).status_code == 401


def test_no_key_is_401_whatever_the_body_holds(guarded: Guarded) -> None:
    url, _, _ = guarded
    for raw in (b"{}", b"not json", b'{"api_key": 5}', b'{"api_key": ""}', b'{"api_key": null}'):
        headers = {"Content-Type": "application/json"}
        assert requests.post(url + EMBED, data=raw, headers=headers, timeout=PATIENCE_S).status_code == 401


def test_the_servers_own_routes_need_no_key(guarded: Guarded) -> None:
    url, _, _ = guarded
    for route in ("/", "/info", "/docs", "/openapi.json", "/readiness", "/healthz"):
        assert requests.get(url + route, timeout=PATIENCE_S).status_code == 200


def test_tenants_share_nothing(guarded: Guarded, key_file: Path) -> None:
    """An id, and even equal content, means nothing outside its tenant."""
    url, key, segmenter = guarded
    other = keyfile.add(key_file, "other")
    body = {"image": as_json(numbered(2)), "image_id": "mine"}
    Client(url).embed(body, params={"api_key": key})
    asked = {"image_id": "mine", "prompts": []}
    Client(url).visual(asked, params={"api_key": key})
    wait_for(lambda: ask(url, query=other).status_code == 200)
    Client(url).visual(asked, expect=404, params={"api_key": other})
    encoded_before = segmenter.encoded
    Client(url).embed(body, params={"api_key": other})
    assert segmenter.encoded == encoded_before + 1


def test_keys_count_without_a_restart(guarded: Guarded, key_file: Path) -> None:
    url, old, _ = guarded
    new = keyfile.rotate(key_file, "acme")
    wait_for(lambda: ask(url, query=new).status_code == 200)
    assert ask(url, query=old).status_code == 401
    keyfile.revoke(key_file, "acme")
    wait_for(lambda: ask(url, query=new).status_code == 401)


def test_a_broken_or_missing_key_file_refuses_all_keys(guarded: Guarded, key_file: Path) -> None:
    url, key, _ = guarded
    text = key_file.read_text()
    key_file.write_text("{broken")
    wait_for(lambda: ask(url, query=key).status_code == 401)
    key_file.write_text(text)
    wait_for(lambda: ask(url, query=key).status_code == 200)
    key_file.unlink()
    wait_for(lambda: ask(url, query=key).status_code == 401)


def test_a_tenants_rate_is_429_with_retry_after(key_file: Path, start_server: ServerFactory) -> None:
    key = keyfile.add(key_file, "slow", requests_per_second=0.01)
    with start_server(api_keys_file=key_file) as url:
        assert ask(url, query=key).status_code == 200
        refused = ask(url, query=key)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert set(refused.json()) == {"message"}


def test_an_open_server_takes_any_key(server: str) -> None:
    assert ask(server, query="<YOUR_API_KEY>", bearer="x", body="y").status_code == 200


def wait_for(condition: Callable[[], bool]) -> None:
    """The server looks at the file once a second."""
    for _ in range(100):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("the server did not notice")
