"""The store dies, hangs and fills up under load, and outlives the Ray cluster."""

import asyncio
import io
import os
import re
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests
from PIL import Image

from deployments.config import StoreConfig
from deployments.keys import content_digest, derived_id
from deployments.store.connections import connect
from deployments.store.server import LocalServer
from harness.server import ServerProcess, command, environment, get, server_process
from harness.waiting import wait_until
from tests.support.scenes import as_json

BACK_S = 3.0
"""How soon a store that was killed answers again."""
CLIENTS = 2
"""Of each kind of request."""
HEIGHT = 60


def picture(width: int) -> bytes:
    """An image that its answer is known by: no two of them are as wide."""
    file = io.BytesIO()
    Image.new("RGB", (width, HEIGHT), (width % 256, 90, 40)).save(file, "PNG")
    return file.getvalue()


def click(server: ServerProcess, **image: Any) -> requests.Response:
    body = {**image, "prompts": [{"points": [{"x": 20, "y": 20, "positive": True}]}], "format": "rle"}
    return requests.post(f"{server.url}/sam3/visual_segment", json=body, timeout=60)


def width_in(answer: requests.Response) -> int:
    width: int = answer.json()["predictions"][0]["masks"]["size"][1]
    return width


@dataclass
class Load:
    """Requests of three kinds, without a pause, and what came of them. Each sends an image that is `width` wide."""

    server: ServerProcess
    first: int
    """Width of the first new image."""
    ends: threading.Event = field(default_factory=threading.Event)
    counts: dict[str, Counter[int]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    acknowledged: list[int] = field(default_factory=list)
    """Widths of new images whose chosen ids were answered 200."""
    last_refusal: float = 0.0

    def known_content(self, turn: int) -> requests.Response:
        return self._checked(
            "content", 100 + turn % 4, image_id=derived_id(content_digest(picture(100 + turn % 4)))
        )

    def chosen_id(self, turn: int) -> requests.Response:
        return self._checked("chosen", 100 + turn % 4, image_id=f"image-{100 + turn % 4}")

    def new_image(self, turn: int) -> requests.Response:
        width = self.first + turn
        answer = self._checked("new", width, image=as_json(picture(width)), image_id=f"image-{width}")
        if answer.status_code == 200:
            self.acknowledged.append(width)
        return answer

    def _checked(self, kind: str, width: int, **image: Any) -> requests.Response:
        answer = click(self.server, **image)
        self.counts.setdefault(kind, Counter())[answer.status_code] += 1
        if answer.status_code == 200:
            if width_in(answer) != width:
                self.wrong.append(f"{kind}: {width_in(answer)} for {width}")
        elif answer.status_code == 503 and "Retry-After" in answer.headers:
            self.last_refusal = time.monotonic()
        else:
            self.wrong.append(f"{kind}: {answer.status_code} {answer.text}")
        return answer

    def client(self, ask: Callable[[int], requests.Response], start: int) -> None:
        turn = start
        while not self.ends.is_set():
            ask(turn)
            turn += CLIENTS


@contextmanager
def load(server: ServerProcess, first: int) -> Iterator[Load]:
    """Steady load until the block is left."""
    for width in range(100, 104):
        assert click(server, image=as_json(picture(width)), image_id=f"image-{width}").status_code == 200
    running = Load(server, first)
    kinds = running.known_content, running.chosen_id, running.new_image
    with ThreadPoolExecutor(CLIENTS * len(kinds)) as threads:
        clients = [threads.submit(running.client, kind, start) for kind in kinds for start in range(CLIENTS)]
        try:
            yield running
        finally:
            running.ends.set()
        for client in clients:
            client.result()


async def set_memory(url: str, nbytes: int) -> None:
    client: Any = connect(StoreConfig(url, 1, 1))
    await client.config_set("maxmemory", nbytes)
    await client.aclose()


def test_a_full_store_refuses_new_images_and_outlives_the_ray_cluster(tmp_path: Path) -> None:
    store = LocalServer(tmp_path / "store", 2**28)
    store.start()
    try:
        with server_process(tmp_path, store=store.url) as one, load(one, 3000) as running:
            time.sleep(2)
            asyncio.run(set_memory(store.url, 1))
            refused = wait_until(lambda: running.last_refusal > 0, 10)
            assert refused < BACK_S
            before = {kind: running.counts[kind][200] for kind in ("content", "chosen")}
            time.sleep(2)
            assert all(running.counts[kind][200] > count for kind, count in before.items())
            deleted = requests.delete(f"{one.url}/sam3/images/image-100", timeout=60)
            assert deleted.status_code == 200, "a deletion makes room"
            running.ends.set()
        asyncio.run(set_memory(store.url, 2**28))
        assert [each for each in running.wrong if "404" not in each] == [], "but for the deleted image"
        with server_process(tmp_path, store=store.url) as other:
            for width in [101, 102, 103, *running.acknowledged[-5:]]:
                for name in (f"image-{width}", derived_id(content_digest(picture(width)))):
                    answer = click(other, image_id=name)
                    assert (answer.status_code, width_in(answer)) == (200, width)
            for name in ("image-100", derived_id(content_digest(picture(100)))):
                assert click(other, image_id=name).status_code == 404
    finally:
        store.stop()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """It has a store of its own."""
    with server_process(tmp_path_factory.mktemp("own")) as running:
        yield running


def store_of(server: ServerProcess) -> int:
    """The store's process."""
    (found,) = server.named("valkey-server")
    return int(found.pid)


def test_a_store_that_is_killed_comes_back_with_all_that_it_acknowledged(server: ServerProcess) -> None:
    with load(server, 1000) as running:
        time.sleep(3)
        killed = store_of(server)
        os.kill(killed, signal.SIGKILL)
        died = time.monotonic()
        time.sleep(6)
    assert running.wrong == []
    assert running.last_refusal - died < BACK_S
    assert set(running.counts["content"]) == {200}, "known content asks nobody"
    assert store_of(server) != killed
    assert len(running.acknowledged) > 10
    for width in running.acknowledged:
        answer = click(server, image_id=f"image-{width}")
        assert (answer.status_code, width_in(answer)) == (200, width)


def test_a_store_that_hangs_stops_what_needs_it_and_nothing_else(server: ServerProcess) -> None:
    hanging = store_of(server)
    with load(server, 2000) as running:
        time.sleep(2)
        os.kill(hanging, signal.SIGSTOP)
        try:
            time.sleep(4)
            assert get(f"{server.url}/readiness") == {"status": "ready", "store": "away"}
            assert running.last_refusal > 0
            before = running.counts["content"][200]
            time.sleep(2)
            assert running.counts["content"][200] > before
        finally:
            os.kill(hanging, signal.SIGCONT)
        again = time.monotonic()
        time.sleep(5)
    assert running.wrong == []
    assert set(running.counts["content"]) == {200}
    assert running.last_refusal - again < BACK_S
    assert get(f"{server.url}/readiness") == {"status": "ready"}
    for width in running.acknowledged:
        assert width_in(click(server, image_id=f"image-{width}")) == width


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"store_password": "wrong"}, "the store cannot be used: .*password"),
        ({"store": "unix:///nowhere/valkey.sock"}, "the store cannot be used: .*nowhere"),
        ({"store": "rediss://127.0.0.1:1/0"}, "the store cannot be used: .*Connect"),
        ({"store": "", "store_server": "/no/such/program"}, "cannot be started: .*/no/such/program"),
        ({"store_password_file": "/no/such/file"}, "the store cannot be used: .*/no/such/file"),
    ],
    ids=["wrong password", "nowhere", "refused", "no program", "no password"],
)
def test_a_store_that_cannot_be_used_is_said_at_the_start(
    tmp_path: Path, settings: dict[str, str], reason: str
) -> None:
    store = LocalServer(tmp_path / "store", 2**20)
    store.start()
    try:
        done = subprocess.run(
            command("up"),
            env=environment(**{"store": store.url, **settings}),
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        store.stop()
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert re.search(reason, done.stderr)
