"""The runner's pool of workers: each executes one run at a time, and a killed one is replaced.

States of a worker: absent -> idle -> busy -> idle, or killed (its run was cut off, or it broke) -> absent.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from deployments.fairness.flows import Share
from deployments.fairness.places import Places
from deployments.fairness.queue import FairQueue, QueueFull, Rules
from deployments.protocol import Overloaded
from deployments.workflows.frames import LENGTH, BrokenFrame, Header, Unpackable, body_length, pack, unpack
from deployments.workflows.sandbox import Sandbox

T = TypeVar("T")

BUFFER_BYTES = 2**22
WORKER_TRIES = 2
"""Workers that one job is given to, where the first one was dead already: docs/retries.md."""
Call = Callable[[Header, list[bytes]], Awaitable[Header]]
"""A function that answers one call of a worker. It returns the reply without `kind` and `id`."""


class WorkerDied(RuntimeError):
    """The worker ended, or broke the protocol, before it had answered. The usual reason is lack of memory.

    `silent`: the worker had sent nothing for this job; it may have been dead before.
    """

    def __init__(self, silent: bool) -> None:
        super().__init__("the workflow's process ended before it had answered")
        self.silent = silent


class RanTooLong(RuntimeError):
    """The job took longer than it may, and its worker was killed."""


class Worker:
    """One worker process and its connection."""

    def __init__(self, pid: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.pid = pid
        self._reader = reader
        self._writer = writer

    async def ask(self, job: bytes, call: Call) -> tuple[int, bytes]:
        """The answer to a job, a message. Raises WorkerDied. After a cancellation the caller must kill the worker."""
        calls: set[asyncio.Task[None]] = set()
        silent = True
        try:
            await self._send(job)
            while True:
                message, parts = await self._receive()
                silent = False
                if message.get("kind") == "answer":
                    return int(message["status"]), parts[0]
                task = asyncio.ensure_future(self._reply(message, parts, call))
                calls.add(task)
                task.add_done_callback(calls.discard)
        except (OSError, EOFError, BrokenFrame, KeyError, IndexError, TypeError, ValueError) as error:
            raise WorkerDied(silent) from error
        finally:
            for task in tuple(calls):
                task.cancel()

    async def _reply(self, message: Header, parts: list[bytes], call: Call) -> None:
        reply = await call(message, parts)
        about = {"kind": "reply", "id": message.get("id")}
        try:
            packed = pack({**about, **reply})
        except Unpackable as error:
            packed = pack({**about, **unanswerable(str(error), 500)})
        with suppress(OSError):
            await self._send(packed)

    async def _send(self, message: bytes) -> None:
        self._writer.write(message)
        await self._writer.drain()

    async def _receive(self) -> tuple[Header, list[bytes]]:
        length = body_length(await self._reader.readexactly(LENGTH.size))
        return unpack(await self._reader.readexactly(length))

    @property
    def alive(self) -> bool:
        """True while the process holds its end of the connection."""
        return not self._reader.at_eof()

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()


class Workers:
    """At most `count` workers, made when first needed, and half as many more for tenants without a running one.

    For one event loop.

    A run may take half a minute, and nobody ends it for another tenant's. So there have to be workers left for a tenant
    that comes while others have taken all. most: runs inside, waiting ones included.
    """

    def __init__(self, sandbox: Sandbox, count: int, most: int) -> None:
        self._sandbox = sandbox
        rules = Rules(most=most, shared=count, spare=spare_workers(count))
        self._places = Places(FairQueue(rules, lambda: count))
        self._idle: list[Worker] = []

    async def ask(
        self, share: Share, header: Header, files: Sequence[bytes], call: Call, seconds: float
    ) -> tuple[int, bytes]:
        """Wait for the tenant's turn and have a worker answer a job, in `seconds` from then on. Raises Overloaded,
        RanTooLong, WorkerDied, SandboxFailed, and Unpackable for a job that no message can hold, which no worker gets.

        A cancellation kills the worker.
        """
        job = pack({"kind": "job", **header}, files)
        for left in reversed(range(WORKER_TRIES)):
            try:
                async with self._borrowed(share) as worker:
                    return await _within(seconds, worker.ask(job, call))
            except QueueFull:
                raise Overloaded from None
            except WorkerDied as error:
                if not left or not error.silent:
                    raise
        raise AssertionError("unreachable")

    @asynccontextmanager
    async def _borrowed(self, share: Share) -> AsyncIterator[Worker]:
        async with self._places.place(share):
            worker = await self._free()
            try:
                yield worker
            except BaseException:
                worker.close()
                # Shielded: the slot becomes free only when the process has ended, even if the caller is cancelled.
                await asyncio.shield(asyncio.to_thread(self._kill, worker.pid))
                raise
            self._idle.append(worker)

    async def _free(self) -> Worker:
        while self._idle:
            worker = self._idle.pop()
            if worker.alive:
                return worker
            worker.close()
            await asyncio.to_thread(self._kill, worker.pid)
        pid, connection = await asyncio.to_thread(self._sandbox.fork)
        reader, writer = await asyncio.open_connection(sock=connection, limit=BUFFER_BYTES)
        return Worker(pid, reader, writer)

    def _kill(self, pid: int) -> None:
        with suppress(RuntimeError):
            self._sandbox.kill(pid)

    def close(self) -> None:
        """Close the connections of idle workers, which then end."""
        for worker in self._idle:
            worker.close()
        self._idle.clear()


async def _within(seconds: float, run: Awaitable[T]) -> T:
    try:
        async with asyncio.timeout(seconds) as timer:
            return await run
    except TimeoutError:
        if timer.expired():
            raise RanTooLong from None
        raise


def spare_workers(count: int) -> int:
    """Workers beyond `count`, for tenants of which none runs."""
    return max(1, count // 2)


def unanswerable(message: str, status: int) -> dict[str, Any]:
    """The reply to a call that fails."""
    return {"message": message, "status": status}
