"""Servers behind Sentinels, and nodes of a cluster: real ones, on ports of this machine."""

import asyncio
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from valkey.asyncio import Valkey
from valkey.exceptions import ConnectionError as Disconnected

from deployments.config import StoreConfig
from deployments.observe.metrics import Metrics
from deployments.protocol import StoreAway
from deployments.store.protocol import NewImage
from deployments.store.server import bundled
from deployments.store.valkey import ValkeyStore
from sam3_engine.types import ImageSize
from serve_app.cli.addresses import free_ports
from serve_app.settings import Settings

IMAGE = NewImage("t", "d", b"file", ImageSize(1, 1), "pet")


@contextmanager
def running(folder: Path, *options: str) -> Iterator[None]:
    """A server in a folder of its own."""
    folder.mkdir()
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([bundled(), *options], cwd=folder, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while True:
            with suppress(Disconnected, StoreAway):
                if await condition():
                    return
            await asyncio.sleep(0.05)


async def works(url: str) -> None:
    """An image is kept, found and deleted, as soon as the servers have found one another."""
    store = ValkeyStore(StoreConfig(Settings(store=url).store, 100, 60), Metrics())
    try:

        async def put() -> bool:
            return await store.put(IMAGE) > 0

        await until(put)
        await store.check()
        assert await store.resolve("t", "pet") == "d"
        assert await store.answers()
        assert await store.delete("t", "pet") is not None
        assert await store.resolve("t", "pet") is None
    finally:
        await store.close()


async def test_a_cluster(tmp_path: Path) -> None:
    ports = free_ports(2)
    with ExitStack() as servers:
        for port in ports:
            servers.enter_context(
                running(tmp_path / str(port), "--port", str(port), "--cluster-enabled", "yes", "--save", "")
            )
        nodes = [Valkey(port=port) for port in ports]
        for node, slots in zip(nodes, ((0, 8191), (8192, 16383)), strict=True):
            await until(lambda node=node: node.ping())  # type: ignore[misc]
            await node.execute_command("CLUSTER", "ADDSLOTSRANGE", *slots)
        await nodes[0].execute_command("CLUSTER", "MEET", "127.0.0.1", ports[1])
        await works(f"valkey+cluster://127.0.0.1:{ports[1]}")
        for node in nodes:
            await node.aclose()


async def test_a_server_behind_sentinels(tmp_path: Path) -> None:
    server, sentinel = free_ports(2)
    conf = tmp_path / "sentinel.conf"
    conf.write_text(f"port {sentinel}\nsentinel monitor main 127.0.0.1 {server} 1\n")
    with (
        running(tmp_path / "server", "--port", str(server), "--save", ""),
        running(tmp_path / "sentinel", str(conf), "--sentinel"),
    ):
        await works(f"redis+sentinel://127.0.0.1:1,127.0.0.1:{sentinel}/main/0")


@pytest.mark.parametrize(
    "url", ["redis://:secret@host", "redis://user:secret@host:1/0", "http://host", "host:6379", "unix:/path"]
)
def test_an_address_with_a_password_or_of_another_kind_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="store"):
        Settings(store=url)
