"""Bodies on their way: they have a budget of their own, and hold nothing that clients with a key need."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPResponse
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from serve_app.http.reading import arrival
from serve_app.http.reading.structure import MOST_VALUES_OF_STRANGERS
from serve_app.http.tenants import keyfile
from tests.contract.conftest import ServerFactory
from tests.support.patience import PATIENCE_S
from tests.support.scenes import as_json, encoded, scene

EMBED = "/sam3/embed_image"
IMAGE = as_json(encoded(scene()))
JSON = {"Content-Type": "application/json"}
KIB = 1024


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def embed(url: str, key: str) -> requests.Response:
    headers = {"Authorization": f"Bearer {key}"}
    return requests.post(url + EMBED, json={"image": IMAGE}, headers=headers, timeout=PATIENCE_S)


@contextmanager
def unfinished(url: str, start: bytes = b"x" * 64 * KIB, key: str = "") -> Iterator[socket.socket]:
    """A POST that says that it has 20 MB, and sends the start of them."""
    target = urlsplit(url)
    lines = {"Host": target.netloc, "Content-Length": "20000000", **JSON}
    if key:
        lines["Authorization"] = f"Bearer {key}"
    head = f"POST {EMBED} HTTP/1.1\r\n" + "".join(f"{name}: {text}\r\n" for name, text in lines.items())
    with socket.create_connection((target.hostname or "", target.port or 0), PATIENCE_S) as connection:
        connection.sendall(head.encode() + b"\r\n" + start)
        yield connection


def status_of(connection: socket.socket) -> int:
    return int(connection.makefile("rb").readline().split()[1])


def test_unfinished_posts_without_a_key_hold_no_place(key_file: Path, start_server: ServerFactory) -> None:
    key = keyfile.add(key_file, "acme")
    settings: dict[str, Any] = {"api_keys_file": key_file, "max_in_flight": 4, "max_bodies": 16}
    with start_server(**settings) as url, ExitStack() as held:
        silent = [held.enter_context(unfinished(url)) for _ in range(20)]
        refused = status_of(silent[-1])
        assert refused == 503, "a quarter of sixteen may be on their way"
        assert [embed(url, key).status_code for _ in range(6)] == [200] * 6


def test_unfinished_posts_of_a_tenant_hold_no_place_either(
    key_file: Path, start_server: ServerFactory
) -> None:
    acme, other = keyfile.add(key_file, "acme"), keyfile.add(key_file, "other")
    with start_server(api_keys_file=key_file, max_in_flight=2, max_bodies=4) as url, ExitStack() as held:
        slow = [held.enter_context(unfinished(url, key=acme)) for _ in range(4)]
        assert status_of(slow[-1]) == 503, "three quarters of four may be on their way"
        assert embed(url, other).status_code == 200


def test_a_key_at_the_start_of_a_body_is_seen_before_its_end(
    key_file: Path, start_server: ServerFactory
) -> None:
    key = keyfile.add(key_file, "acme")
    begun = b'{"api_key": "%s", ' % key.encode()

    def without_a_key() -> int:
        return requests.post(url + EMBED, data=b"{}", headers=JSON, timeout=PATIENCE_S).status_code

    # Of four bodies one may be of a client without a key.
    with start_server(api_keys_file=key_file, max_bodies=4) as url:
        with unfinished(url, begun):
            while without_a_key() == 503:
                time.sleep(0.01)
            assert without_a_key() == 401
        with unfinished(url):
            while without_a_key() == 401:
                time.sleep(0.01)
            assert without_a_key() == 503


def test_the_key_of_the_whole_body_decides(key_file: Path, start_server: ServerFactory) -> None:
    key = keyfile.add(key_file, "acme")
    raw = b'{"api_key": "%s", "image": 1, "api_key": "wrong-wrong-wrong"}' % key.encode()
    with start_server(api_keys_file=key_file) as url:
        assert requests.post(url + EMBED, data=raw, headers=JSON, timeout=PATIENCE_S).status_code == 401


def test_a_body_that_stops_is_408(start_server: ServerFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrival, "WINDOW_S", 0.2)
    with start_server() as url, unfinished(url) as connection:
        answer = HTTPResponse(connection)
        answer.begin()
        assert answer.status == 408
        assert b"did not arrive in time" in answer.read()


@pytest.mark.parametrize("part", [b"{}", b'{"%d":0}'])
def test_a_document_of_many_values_is_refused_before_it_is_parsed(
    key_file: Path, start_server: ServerFactory, part: bytes
) -> None:
    keyfile.add(key_file, "acme")
    parts = (part % number if b"%" in part else part for number in range(MOST_VALUES_OF_STRANGERS))
    raw = b'{"a":[' + b",".join(parts) + b"]}"
    with start_server(api_keys_file=key_file) as url:
        answer = requests.post(url + EMBED, data=raw, headers=JSON, timeout=PATIENCE_S)
    assert answer.status_code == 413
    assert "values" in answer.json()["message"]
