"""The pool of workers, with a sandbox whose processes are coroutines of this one."""

import asyncio
import itertools
import socket
from concurrent.futures import Future
from typing import Any, cast

import pytest

from deployments.fairness.flows import Share
from deployments.protocol import Overloaded
from deployments.workflows.frames import LENGTH, body_length, pack, unpack
from deployments.workflows.sandbox import Sandbox
from deployments.workflows.workers import RanTooLong, Workers, spare_workers

A, B, C = Share("a"), Share("b"), Share("c")
LONG_S = 60.0


class FakeSandbox:
    """Workers that answer when they are told to."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.running: list[str] = []
        self.alive = 0
        self._loop = asyncio.get_running_loop()
        self._pids = itertools.count(1)
        self._ends: list[Future[None]] = []

    def fork(self) -> tuple[int, socket.socket]:
        """Called in a thread."""
        ours, theirs = socket.socketpair()
        self.alive += 1
        self._ends.append(asyncio.run_coroutine_threadsafe(self._work(theirs), self._loop))
        return next(self._pids), ours

    def kill(self, _pid: int) -> None:
        self.alive -= 1

    async def ended(self) -> None:
        """Wait until all connections are closed."""
        await asyncio.gather(*map(asyncio.wrap_future, self._ends))

    async def _work(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection)
        while True:
            try:
                length = body_length(await reader.readexactly(LENGTH.size))
                header, _ = unpack(await reader.readexactly(length))
            except asyncio.IncompleteReadError:
                writer.close()
                await writer.wait_closed()
                return
            self.running.append(header["name"])
            while header["name"].startswith("long") and not self.go.is_set() and not reader.at_eof():
                await asyncio.sleep(0.005)
            if reader.at_eof():
                continue
            writer.write(pack({"kind": "answer", "status": 200}, [header["name"].encode()]))


async def no_call(_header: Any, _parts: Any) -> Any:
    raise AssertionError


def ask(
    workers: Workers, share: Share, name: str, seconds: float = LONG_S
) -> asyncio.Task[tuple[int, bytes]]:
    return asyncio.create_task(workers.ask(share, {"name": name}, (), no_call, seconds))


async def until(running: list[str], count: int) -> None:
    while len(running) < count:
        await asyncio.sleep(0.001)


async def test_a_tenant_need_not_wait_for_the_long_runs_of_another_one() -> None:
    sandbox = FakeSandbox()
    workers = Workers(cast("Sandbox", sandbox), 4, 64)
    long = [ask(workers, A, f"long-{number}") for number in range(8)]
    await until(sandbox.running, 4)
    assert await ask(workers, B, "short") == (200, b"short")
    assert await ask(workers, C, "other") == (200, b"other")
    assert sum(name.startswith("long") for name in sandbox.running) == 4, "whoever is alone has its workers"
    sandbox.go.set()
    await asyncio.gather(*long)
    workers.close()
    await sandbox.ended()


async def test_there_are_no_more_workers_than_are_allowed() -> None:
    sandbox = FakeSandbox()
    workers = Workers(cast("Sandbox", sandbox), 2, 64)
    long = [ask(workers, Share(str(number)), f"long-{number}") for number in range(10)]
    await until(sandbox.running, 2 + spare_workers(2))
    await asyncio.sleep(0.05)
    assert sandbox.alive == len(sandbox.running) == 3
    sandbox.go.set()
    await asyncio.gather(*long)
    workers.close()
    await sandbox.ended()


async def test_a_full_runner_refuses_the_tenant_that_fills_it() -> None:
    sandbox = FakeSandbox()
    workers = Workers(cast("Sandbox", sandbox), 1, 4)
    long = [ask(workers, A, f"long-{number}") for number in range(5)]
    with pytest.raises(Overloaded):
        await long[4]
    assert await ask(workers, B, "short") == (200, b"short")
    assert isinstance(await asyncio.wait_for(_error(long[3]), 10), Overloaded), "the newest one gave way"
    sandbox.go.set()
    await asyncio.gather(*long[:3])
    workers.close()
    await sandbox.ended()


async def test_waiting_does_not_count_as_running() -> None:
    sandbox = FakeSandbox()
    workers = Workers(cast("Sandbox", sandbox), 1, 16)
    first, second = ask(workers, A, "long-1"), ask(workers, A, "short", seconds=1.0)
    await asyncio.sleep(1.2)
    assert not second.done()
    sandbox.go.set()
    assert [status for status, _ in await asyncio.gather(first, second)] == [200, 200]
    workers.close()
    await sandbox.ended()


async def test_a_run_that_takes_too_long_is_ended_and_frees_its_place() -> None:
    sandbox = FakeSandbox()
    workers = Workers(cast("Sandbox", sandbox), 1, 16)
    with pytest.raises(RanTooLong):
        await ask(workers, A, "long", seconds=0.05)
    assert sandbox.alive == 0
    assert await ask(workers, A, "short") == (200, b"short")
    workers.close()
    await sandbox.ended()


async def _error(task: "asyncio.Task[Any]") -> BaseException | None:
    await asyncio.wait([task])
    return task.exception()
