"""What clients without a key can take from a tenant that has one: attacks on a whole server, HAProxy included. Each
prints what the tenant got before these limits existed (2bcd322, on loopback, 2 cores) and what it gets now."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from harness.server import ServerProcess, server_process
from serve_app.http.tenants import keyfile
from tests.support.scenes import as_json, encoded, scene

ATTACKER = "127.0.0.2"
"""Another address than the tenant's."""
MIB = 1024 * 1024
IMAGE = as_json(encoded(scene()))
TRIES = 6
JSON = {"Content-Type": "application/json"}
INGRESS = "ServeReplica:sam3:Ingress"


@dataclass(frozen=True)
class Served:
    """A server with keys, and one of them."""

    server: ServerProcess
    key: str

    def embed(self) -> requests.Response:
        """What the tenant asks for."""
        headers = {"Authorization": f"Bearer {self.key}"}
        url = f"{self.server.url}/sam3/embed_image"
        return requests.post(url, json={"image": IMAGE}, headers=headers, timeout=60)

    def connect(self, source: str = ATTACKER) -> socket.socket:
        target = urlsplit(self.server.url)
        return socket.create_connection((target.hostname or "", target.port or 0), 30, (source, 0))

    def memory(self) -> int:
        """Bytes that the ingress takes."""
        return sum(int(each.memory_info().rss) for each in self.server.named(INGRESS))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("abuse")
    key = keyfile.add(folder / "keys.json", "acme")
    with server_process(folder, api_keys_file=str(folder / "keys.json"), workflows="true") as running:
        found = Served(running, key)
        assert found.embed().status_code == 200
        yield found


def tell(attack: str, before: str, after: str) -> None:
    print(f"\n{attack}\n    before: {before}\n    now:    {after}")


@contextmanager
def watched(served: Served) -> Iterator[list[float]]:
    """Seconds of the tenant's requests, one after the other, until the block ends."""
    seconds: list[float] = []
    end = threading.Event()

    def ask() -> None:
        while not end.is_set():
            began = time.monotonic()
            if served.embed().status_code == 200:
                seconds.append(time.monotonic() - began)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield seconds
    finally:
        end.set()
        thread.join()


def test_unfinished_posts_without_a_key_keep_no_tenant_out(served: Served) -> None:
    lines = ("POST /sam3/embed_image HTTP/1.1", "Host: x", "Content-Length: 20000000")
    head = "\r\n".join((*lines, "Content-Type: application/json\r\n"))
    with ExitStack() as held:
        for _ in range(64):
            connection = held.enter_context(served.connect())
            with suppress(ConnectionError):  # beyond their share they are refused
                connection.sendall(head.encode() + b"\r\n" + b"x" * (11 * MIB // 10))
        answers = [served.embed().status_code for _ in range(TRIES)]
    refused = answers.count(503)
    tell("64 POSTs without a key that stop", "503 in 6 of 6 tries", f"503 in {refused} of {TRIES} tries")
    assert answers == [200] * TRIES


def documents() -> dict[str, bytes]:
    names = b",".join(b'"%d":0' % number for number in range(32 * MIB // 12))
    return {"30 MiB of {}": b'{"a":[' + b"{}," * (10 * MIB) + b"{}]}", "32 MiB of names": b"{" + names + b"}"}


@pytest.mark.parametrize(
    ("kind", "before"),
    [("30 MiB of {}", "759 MiB more in the ingress"), ("32 MiB of names", "a stall of 2.4 s")],
)
def test_a_document_of_many_values_costs_what_its_bytes_do(served: Served, kind: str, before: str) -> None:
    raw = documents()[kind]
    at_first, most = served.memory(), 0
    answers: list[int] = []
    with watched(served) as seconds:
        url = f"{served.server.url}/sam3/embed_image"
        for _ in range(3):
            sending = threading.Thread(
                target=lambda: answers.append(
                    requests.post(url, data=raw, headers=JSON, timeout=60).status_code
                )
            )
            sending.start()
            while sending.is_alive():
                most = max(most, served.memory())
                time.sleep(0.01)
    grown = (most - at_first) // MIB
    tell(kind, before, f"{grown} MiB more, a tenant's slowest request {max(seconds):.2f} s; {answers}")
    assert answers == [413] * 3
    assert grown < 10 * len(raw) // MIB


def test_idle_connections_of_one_address_keep_no_other_out(served: Served) -> None:
    with ExitStack() as held:
        for _ in range(4100):
            with suppress(ConnectionError):  # beyond its share they are closed
                held.enter_context(served.connect())
        answers = [served.embed().status_code for _ in range(TRIES)]
    tell("4,100 idle connections", "nobody gets in", f"another address: {answers}")
    assert answers == [200] * TRIES


def test_the_description_of_workflow_steps_costs_no_work(served: Served) -> None:
    url = f"{served.server.url}/workflows/blocks/describe"
    requests.get(url, timeout=120)

    def timed(**headers: str) -> tuple[requests.Response, float]:
        began = time.monotonic()
        return requests.get(url, headers=headers, timeout=60), (time.monotonic() - began) * 1000

    first, took = timed()
    again, again_took = timed(**{"If-None-Match": first.headers["ETag"]})
    size = int(first.headers["Content-Length"]) // 1024
    tell(
        "GET /workflows/blocks/describe",
        "7 MB, 100-240 ms",
        f"{size} KiB, {took:.0f} ms; {again.status_code} in {again_took:.0f} ms",
    )
    assert (first.status_code, again.status_code) == (200, 304)


def test_serves_own_headers_change_nothing(served: Served) -> None:
    """A tenant's request with them is answered as any other."""
    told: dict[str, Any] = {"x-request-timeout-seconds": "0.000001", "serve_multiplexed_model_id": b"\xff"}
    headers = {"Authorization": f"Bearer {served.key}", **told}
    url = f"{served.server.url}/sam3/embed_image"
    answer = requests.post(url, json={"image": IMAGE}, headers=headers, timeout=60)
    tell("x-request-timeout-seconds: 0.000001", "408; bytes that are no UTF-8: 500", str(answer.status_code))
    assert answer.status_code == 200
