"""An offered load: requests that are sent when they are due, whether earlier ones are answered or not.

Runs in a thread with an event loop of its own, so that the program can kill and watch meanwhile.
"""

import asyncio
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import aiohttp
import requests

from harness.figures import Latency, latency
from harness.records import is_refusal

TIMEOUT_S = 150.0
Ask = Callable[[int], tuple[str, dict[str, Any]]]
"""The number of a request -> its route and its JSON body."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One request's fate. Times: `time.monotonic()`."""

    sent: float
    done: float
    status: int
    """0 where the connection failed."""
    retry_after: bool = False
    error: str = ""

    @property
    def seconds(self) -> float:
        """Seconds from sending to the answer's end."""
        return self.done - self.sent

    @property
    def ok(self) -> bool:
        """True for an answer with status 200."""
        return self.status == 200

    @property
    def refused(self) -> bool:
        """True for a request that was turned away as the contract says: 503 with Retry-After."""
        return is_refusal(self.status, self.retry_after)


@dataclass
class Offered:
    """Requests at a rate that may be changed while it runs."""

    url: str
    ask: Ask
    rate: float
    """A second."""
    answers: list[Answer] = field(default_factory=list)
    waiting: dict[int, float] = field(default_factory=dict)
    """Requests without an answer yet: number and time of sending."""
    sent: int = 0
    reconnect: bool = True
    """A new connection for each request: a fault's effect on one must not depend on the connections that were open."""
    _stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Send until stopped; then await the answers that are still out."""
        asyncio.run(self._run())

    def stop(self) -> None:
        """Send no more."""
        self._stop.set()

    async def _run(self) -> None:
        connector = aiohttp.TCPConnector(limit=0, force_close=self.reconnect)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            asyncio.TaskGroup() as group,
        ):
            due = time.monotonic()
            while not self._stop.is_set():
                rate = self.rate  # another thread may change it
                if rate <= 0:
                    await asyncio.sleep(0.02)
                    due = time.monotonic()
                    continue
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                group.create_task(self._one(session, self.sent))
                self.sent += 1
                due += 1 / rate

    async def _one(self, session: aiohttp.ClientSession, number: int) -> None:
        route, body = self.ask(number)
        self.waiting[number] = sent = time.monotonic()
        try:
            async with session.post(self.url + route, json=body) as answer:
                text = await answer.read()
                status, retry = answer.status, "Retry-After" in answer.headers
                error = "" if status == 200 else text[:200].decode(errors="replace")
        except (aiohttp.ClientError, OSError, TimeoutError) as problem:
            status, retry, error = 0, False, f"{type(problem).__name__}: {problem}"
        self.answers.append(Answer(sent, time.monotonic(), status, retry, error))
        del self.waiting[number]


@contextmanager
def offered(url: str, ask: Ask, rate: float, reconnect: bool = True) -> Iterator[Offered]:
    """Offer a load while the block runs; when it is left, every answer is there."""
    load = Offered(url, ask, rate, reconnect=reconnect)
    thread = threading.Thread(target=load.run, name="offered-load")
    thread.start()
    try:
        yield load
    finally:
        load.stop()
        thread.join()


def one_by_one(url: str, ask: Ask, count: int) -> float:
    """Requests a second that are answered when each waits for the one before it: by the median of `count`."""
    spans = []
    for number in range(count):
        route, body = ask(number)
        begin = time.monotonic()
        requests.post(url + route, json=body, timeout=TIMEOUT_S).raise_for_status()
        spans.append(time.monotonic() - begin)
    return 1 / median(spans)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The fate of the requests of one span of time."""

    requests: int
    answered: int
    refused: int
    failed: int
    stall_s: float
    """The longest time without an answer, in seconds."""
    latency: Latency
    """Latency of the answered requests."""
    refusal: Latency
    """Latency of the refused requests."""
    errors: tuple[str, ...]


def outcome(answers: Sequence[Answer], begin: float, end: float) -> Outcome:
    """The fate of the requests sent from `begin` to `end`."""
    mine = [answer for answer in answers if begin <= answer.sent < end]
    good = sorted(answer.done for answer in mine if answer.ok)
    bad = [answer for answer in mine if not answer.ok and not answer.refused]
    marks = [begin, *good, max([end, *good])]
    return Outcome(
        requests=len(mine),
        answered=len(good),
        refused=sum(answer.refused for answer in mine),
        failed=len(bad),
        stall_s=max(b - a for a, b in itertools.pairwise(marks)),
        latency=latency([answer.seconds for answer in mine if answer.ok]),
        refusal=latency([answer.seconds for answer in mine if answer.refused]),
        errors=tuple(sorted({f"{answer.status} {answer.error}" for answer in bad})),
    )
