"""Workers as the runner uses them: one run each, several at once, replaced when they had to be killed.

A worker is: absent -> idle -> busy -> idle, or killed (its run was cut off, or it broke) -> absent.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from deployments.workflows.frames import LENGTH, BrokenFrame, Header, body_length, pack, unpack
from deployments.workflows.sandbox import Sandbox

BUFFER_BYTES = 2**22
Call = Callable[[Header, list[bytes]], Awaitable[Header]]
"""Answers one question of a worker: what the reply holds beside its kind and number."""


class WorkerDied(RuntimeError):
    """The worker ended, or spoke out of turn, before it had answered: out of memory, most likely.

    `silent`: it had said nothing at all, as one that was dead before it was asked.
    """

    def __init__(self, silent: bool) -> None:
        super().__init__("the workflow's process ended before it had answered")
        self.silent = silent


class Worker:
    """One process, and the conversation with it."""

    def __init__(self, pid: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.pid = pid
        self._reader = reader
        self._writer = writer

    async def ask(self, header: Header, files: Sequence[bytes], call: Call) -> tuple[int, bytes]:
        """The answer to a job. Raises WorkerDied. Cancelled, it leaves a worker that must be killed."""
        calls: set[asyncio.Task[None]] = set()
        silent = True
        try:
            await self._send({"kind": "job", **header}, files)
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
        with suppress(OSError):
            await self._send({"kind": "reply", "id": message.get("id"), **reply}, [])

    async def _send(self, header: Header, parts: Sequence[bytes]) -> None:
        self._writer.write(pack(header, parts))
        await self._writer.drain()

    async def _receive(self) -> tuple[Header, list[bytes]]:
        length = body_length(await self._reader.readexactly(LENGTH.size))
        return unpack(await self._reader.readexactly(length))

    @property
    def alive(self) -> bool:
        """Whether the process still holds its end."""
        return not self._reader.at_eof()

    def close(self) -> None:
        """Drop the connection."""
        self._writer.close()


class Workers:
    """At most `count` workers, made when they are first needed. For one event loop."""

    def __init__(self, sandbox: Sandbox, count: int) -> None:
        self._sandbox = sandbox
        self._places = asyncio.Semaphore(count)
        self._idle: list[Worker] = []

    async def ask(self, header: Header, files: Sequence[bytes], call: Call) -> tuple[int, bytes]:
        """Have a job answered by a free worker, waiting for one. Raises WorkerDied, SandboxFailed.

        Cancelling it kills the worker and whatever it does.
        """
        for last in (False, True):
            try:
                async with self._borrowed() as worker:
                    return await worker.ask(header, files, call)
            except WorkerDied as error:
                if last or not error.silent:
                    raise
        raise AssertionError("unreachable")

    @asynccontextmanager
    async def _borrowed(self) -> AsyncIterator[Worker]:
        async with self._places:
            worker = await self._free()
            try:
                yield worker
            except BaseException:
                worker.close()
                # Shielded: the place is free when the process is gone, whoever waits for that.
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
        """Drop the idle ones."""
        for worker in self._idle:
            worker.close()
        self._idle.clear()


def unanswerable(message: str, status: int) -> dict[str, Any]:
    """A reply to a question that gets no answer."""
    return {"message": message, "status": status}
