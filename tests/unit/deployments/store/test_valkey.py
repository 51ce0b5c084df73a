"""The client of a server that is away, hangs, or does not want it."""

import asyncio
import os
import signal
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme

from deployments.config import StoreConfig
from deployments.observe.metrics import Metrics
from deployments.protocol import StoreAway
from deployments.store import connections as module
from deployments.store.connections import connect
from deployments.store.protocol import NewImage
from deployments.store.server import LocalServer, bundled
from deployments.store.valkey import ValkeyStore
from sam3_engine.types import ImageSize

IMAGE = NewImage("t", "d", b"file", ImageSize(1, 1), "pet")


class Guarded(LocalServer):
    """Has a user with a password, who may run the store's commands, with its own keys alone."""

    def _command(self) -> list[str]:
        return [*super()._command(), "--user", "sam3", "on", ">hunter2", "~{ours}:*", "+@all", "-@dangerous"]


async def test_a_connection_that_broke_is_made_again(valkey: ValkeyStore, server: LocalServer) -> None:
    await valkey.put(IMAGE)
    other: Any = connect(StoreConfig(server.url, 1, 1))
    for _ in range(3):
        await other.client_kill_filter(_type="normal", skipme=True)
        assert await valkey.resolve("t", "pet") == "d"
    await other.aclose()


async def test_every_round_trip_is_counted_and_timed(valkey: ValkeyStore, metrics: Metrics) -> None:
    await valkey.put(IMAGE)
    await valkey.resolve("t", "pet")
    assert metrics.values['sam3_store_seconds_count{operation="put"}'] == 1
    assert metrics.values['sam3_store_seconds_count{operation="resolve"}'] == 1
    assert "sam3_store_errors_total" not in str(metrics.values)


async def test_a_file_that_has_to_leave_is_counted(valkey: ValkeyStore, metrics: Metrics) -> None:
    for digest in ("a", "b", "c"):
        await valkey.put(NewImage("t", digest, bytes(60), ImageSize(1, 1)))
    assert metrics.values['sam3_evictions_total{reason="budget",tier="cold"}'] == 2


async def test_idle_images_are_forgotten(valkey: ValkeyStore, server: LocalServer) -> None:
    await valkey.put(IMAGE)
    assert (await valkey.sweep()).idle == 0
    short = ValkeyStore(StoreConfig(server.url, 100, 0.001), Metrics())
    await asyncio.sleep(0.01)
    assert (await short.sweep()).idle == 1
    assert await valkey.resolve("t", "pet") is None
    assert (await valkey.sweep()).nbytes == 0
    await short.close()


async def test_nothing_is_left_of_a_cluster_that_is_gone(valkey: ValkeyStore, server: LocalServer) -> None:
    short = ValkeyStore(StoreConfig(server.url, 100, 0.02), Metrics())
    await short.put(IMAGE)
    await short.close()
    client: Any = connect(StoreConfig(server.url, 1, 1))
    assert len(await client.keys()) > 5
    while await client.keys():
        await asyncio.sleep(0.02)
    await client.aclose()


async def test_servers_are_shared_by_prefix(valkey: ValkeyStore, server: LocalServer) -> None:
    other = ValkeyStore(StoreConfig(server.url, 100, 60, prefix="other"), Metrics())
    await valkey.put(IMAGE)
    assert await other.resolve("t", "pet") is None
    assert await other.images("t") == []
    await other.close()


async def test_a_server_that_hangs_is_away_and_comes_back(
    socket_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = LocalServer(socket_folder, 2**20)
    server.start()
    config, metrics = StoreConfig(server.url, 100, 60), Metrics()
    patient = ValkeyStore(config, Metrics())
    monkeypatch.setattr(module, "ANSWER_S", 0.1)
    hasty = ValkeyStore(config, metrics)
    try:
        await patient.put(IMAGE)
        os.kill(server.pid, signal.SIGSTOP)
        found = await asyncio.gather(*(hasty.resolve("t", "pet") for _ in range(5)), return_exceptions=True)
        assert all(isinstance(one, StoreAway) for one in found)
        assert not await hasty.answers()
        assert metrics.values['sam3_store_errors_total{operation="resolve"}'] == 5
        os.kill(server.pid, signal.SIGCONT)
        assert await patient.resolve("t", "pet") == "d"
    finally:
        os.kill(server.pid, signal.SIGCONT)
        await patient.close()
        await hasty.close()
        server.stop()


async def test_no_server_is_a_store_that_is_away(tmp_path: Path) -> None:
    store = ValkeyStore(StoreConfig(f"unix://{tmp_path}/nothing", 100, 60), Metrics())
    with pytest.raises(StoreAway):
        await store.resolve("t", "pet")
    with pytest.raises(StoreAway, match=r"cannot be used: .*nothing"):
        await store.check()
    assert not await store.answers()


@asynccontextmanager
async def over_tls(server: LocalServer, certificate: trustme.LeafCert) -> AsyncIterator[int]:
    """A port that takes TLS off and passes on to the server's socket: the bundled server is built without TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(2**16):
            writer.write(data)
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_unix_connection(server.url.removeprefix("unix://"))
        await asyncio.gather(pump(reader, inner_writer), pump(inner_reader, writer))

    async with await asyncio.start_server(relay, "localhost", 0, ssl=context) as listening:
        yield listening.sockets[0].getsockname()[1]


@pytest.fixture
def guarded(socket_folder: Path) -> Iterator[Guarded]:
    (socket_folder / "password").write_text("hunter2\n")
    server = Guarded(socket_folder / "s", 2**20)
    server.start()
    yield server
    server.stop()


async def test_a_server_with_a_user_a_password_and_tls(guarded: Guarded, socket_folder: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(socket_folder / "ca.pem")
    async with over_tls(guarded, authority.issue_cert("localhost")) as port:
        right = StoreConfig(
            f"rediss://sam3@localhost:{port}/0",
            cold_bytes=100,
            idle_ttl_s=60,
            password_file=str(socket_folder / "password"),
            ca_file=str(socket_folder / "ca.pem"),
            prefix="ours",
        )
        store = ValkeyStore(right, Metrics())
        await store.check()
        await store.put(IMAGE)
        assert await store.resolve("t", "pet") == "d"
        assert await store.delete("t", "pet") is not None
        await store.close()
        for wrong, reason in (
            (replace(right, password_file=None, password="12345"), "invalid username-password"),
            (replace(right, password_file=None), "invalid username-password"),
            (replace(right, prefix="theirs"), "[Nn]o permission"),
            (replace(right, ca_file=None), "certificate verify failed"),
            (replace(right, url=f"redis://sam3@localhost:{port}/0"), "."),
        ):
            store = ValkeyStore(wrong, Metrics())
            with pytest.raises(StoreAway, match=reason):
                await store.check()
            with pytest.raises(StoreAway):
                await store.put(IMAGE)
            await store.close()


async def test_a_full_disk_refuses_what_is_new_and_is_said(socket_folder: Path) -> None:
    small = socket_folder / "small-disk"
    small.write_text(f"#!/bin/sh\ntrap '' XFSZ\nulimit -f 64\nexec {bundled()} \"$@\"\n")
    small.chmod(0o700)
    server = LocalServer(socket_folder / "s", 2**20, binary=str(small))
    server.start()
    store = ValkeyStore(StoreConfig(server.url, 2**20, 60), Metrics())
    try:
        await store.put(IMAGE)
        images = [NewImage("t", str(number), bytes(20_000), ImageSize(1, 1)) for number in range(10)]
        await asyncio.gather(*map(store.put, images), return_exceptions=True)  # the last do not fit
        with pytest.raises(StoreAway):
            await store.put(IMAGE)
        assert await store.resolve("t", "pet") == "d"
        with pytest.raises(StoreAway, match="MISCONF"):
            await store.check()
    finally:
        await store.close()
        server.stop()
