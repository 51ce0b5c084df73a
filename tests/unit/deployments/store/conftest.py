"""A real server for the tests of this folder, empty for each of them."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from deployments.config import StoreConfig
from deployments.observe.metrics import Metrics
from deployments.store.connections import connect
from deployments.store.server import LocalServer
from deployments.store.valkey import ValkeyStore


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    running = LocalServer(tmp_path_factory.mktemp("s"), 2**20)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
async def valkey(server: LocalServer, metrics: Metrics) -> AsyncIterator[ValkeyStore]:
    config = StoreConfig(server.url, cold_bytes=100, idle_ttl_s=60, most_images=80)
    client: Any = connect(config)
    await client.flushall()
    await client.aclose()
    store = ValkeyStore(config, metrics)
    yield store
    await store.close()


@pytest.fixture
def socket_folder(tmp_path: Path) -> Path:
    """Its path is short enough for a socket."""
    assert len(str(tmp_path)) < 90
    return tmp_path
