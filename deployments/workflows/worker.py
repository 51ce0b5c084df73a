"""A worker: a process, forked by the zygote, that executes one run at a time. Its only connection is the runner's
socket.

    runner -> worker   {"kind": "job", ...} + files       one at a time
    worker -> runner   {"kind": "call", "id", ...}        of a SAM 3 step; any number at the same time
    runner -> worker   {"kind": "reply", "id", "results" or "message" and "status"}
    worker -> runner   {"kind": "answer", "status"} + body
"""

import itertools
import os
import queue
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from deployments.workflows.engine import CONCURRENT_STEPS, EngineSetup, answer
from deployments.workflows.frames import LENGTH, Header, body_length, pack, unpack
from deployments.workflows.limits import confine
from deployments.workflows.provider import ModelCallFailed
from deployments.workflows.step_pool import StepPool


class Channel:
    """Messages over a socket. Any thread may call `send`; only one thread may receive."""

    def __init__(self, runner: socket.socket) -> None:
        self._socket = runner
        self._lock = threading.Lock()

    def send(self, header: Header, parts: Sequence[bytes | memoryview] = ()) -> None:
        """Send a message."""
        data = pack(header, parts)
        with self._lock:
            self._socket.sendall(data)

    def receive(self) -> tuple[Header, list[bytes]] | None:
        """The next message; None when the runner has closed the socket."""
        prefix = self._exactly(LENGTH.size)
        if prefix is None:
            return None
        body = self._exactly(body_length(prefix))
        return None if body is None else unpack(body)

    def _exactly(self, count: int) -> bytes | None:
        data = bytearray(count)
        view, at = memoryview(data), 0
        while at < count:
            got = self._socket.recv_into(view[at:])
            if not got:
                return None
            at += got
        return bytes(data)


class Worker:
    """Answers jobs until the runner closes the socket."""

    def __init__(self, channel: Channel, setup: EngineSetup) -> None:
        self._channel = channel
        self._setup = setup
        self._jobs: queue.SimpleQueue[tuple[Header, list[bytes]]] = queue.SimpleQueue()
        self._calls: dict[int, Future[Header]] = {}
        self._numbers = itertools.count()
        self._steps = StepPool(CONCURRENT_STEPS)

    def serve(self) -> None:
        """Answer jobs. Does not return."""
        threading.Thread(target=self._listen, daemon=True, name="listen").start()
        while True:
            header, files = self._jobs.get()
            status, body = answer(self._setup, header, files, self._ask, self._steps)
            self._channel.send({"kind": "answer", "status": status}, [body])

    def _listen(self) -> None:
        while (message := self._channel.receive()) is not None:
            header, parts = message
            if header["kind"] == "job":
                self._jobs.put((header, parts))
            else:
                self._calls.pop(header["id"]).set_result(header)
        os._exit(0)

    def _ask(self, header: Header, parts: Sequence[bytes | memoryview]) -> Any:
        number = next(self._numbers)
        future: Future[Header] = Future()
        self._calls[number] = future
        self._channel.send({"kind": "call", "id": number, **header}, parts)
        reply = future.result()  # the runner ends a run that takes too long
        if "results" not in reply:
            raise ModelCallFailed(reply["message"], reply["status"])
        return reply["results"]


def run(runner: socket.socket, setup: EngineSetup, memory_bytes: int) -> None:
    """Confine this process, then work as a worker. Does not return."""
    confine(memory_bytes)
    Worker(Channel(runner), setup).serve()
