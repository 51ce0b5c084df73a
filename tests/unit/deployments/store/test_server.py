import asyncio
import os
import signal
import stat
from pathlib import Path
from typing import Any

import pytest

from deployments.config import StoreConfig
from deployments.observe.metrics import Metrics
from deployments.protocol import StoreAway
from deployments.store.protocol import NewImage
from deployments.store.server import SOCKET, LocalServer, ServerFailed
from deployments.store.valkey import ValkeyStore
from sam3_engine.types import ImageSize


def image(number: int) -> NewImage:
    return NewImage("t", str(number), b"file", ImageSize(1, 1), f"id-{number}")


def store_of(server: LocalServer) -> ValkeyStore:
    return ValkeyStore(StoreConfig(server.url, 2**20, 60), Metrics())


async def answered(store: ValkeyStore) -> None:
    for _ in range(500):
        if await store.answers():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the store did not come back")


async def test_a_server_that_is_killed_comes_back_with_all_that_it_acknowledged(socket_folder: Path) -> None:
    server = LocalServer(socket_folder, 2**20)
    server.start()
    try:
        store, acknowledged = store_of(server), 0
        for number in range(200):
            await store.put(image(number))
            acknowledged = number + 1
        first = server.pid
        os.kill(first, signal.SIGKILL)
        await answered(store)
        assert server.pid != first
        assert {f"id-{n}" for n in range(acknowledged)} == {kept.ids[0] for kept in await store.images("t")}
        await store.close()
    finally:
        server.stop()


async def test_data_of_their_own_folder_outlives_the_server(socket_folder: Path) -> None:
    for run in range(2):
        server = LocalServer(socket_folder / str(run), 2**20, data=socket_folder / "data")
        server.start()
        store = store_of(server)
        assert await store.resolve("t", "id-1") == (None, "1")[run]
        await store.put(image(1))
        await store.close()
        server.stop()


async def test_nobody_else_can_open_its_folder_and_socket(socket_folder: Path) -> None:
    folder = socket_folder / "s"
    server = LocalServer(folder, 2**20)
    server.start()
    try:
        assert [stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / SOCKET)] == [0o700, 0o700]
    finally:
        server.stop()


async def test_a_full_memory_refuses_new_images_and_deletes_old_ones(socket_folder: Path) -> None:
    server = LocalServer(socket_folder, 2**20)
    server.start()
    store = store_of(server)
    try:
        await store.put(image(1))
        client: Any = store._steps.client
        await client.config_set("maxmemory", 1)
        with pytest.raises(StoreAway):
            await store.put(image(2))
        assert await store.resolve("t", "id-1") == "1"
        assert await store.delete("t", "id-1") is not None
        assert await store.resolve("t", "id-1") is None
    finally:
        await store.close()
        server.stop()


def test_a_server_that_cannot_start_says_why(socket_folder: Path) -> None:
    server = LocalServer(socket_folder, 2**20)
    server._memory = -1
    with pytest.raises(ServerFailed, match=r"the store's server does not start: .+"):
        server.start()
    with pytest.raises(FileNotFoundError):
        LocalServer(socket_folder, 2**20, binary="/no/such/server").start()
