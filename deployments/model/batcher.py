"""Batches what concurrent requests ask of the model: while one batch runs, the next one gathers.

One batch at a time per batcher. Work runs in an executor, off the event loop. An item whose caller left (cancelled) or
whose deadline passed is dropped before its batch starts. An item that breaks a batch does not break its neighbours.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Generic, TypeVar

from deployments.protocol import DeadlineExceeded

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(slots=True)
class _Waiting(Generic[Item, Result]):
    item: Item
    weight: int
    deadline: float | None
    since: float
    answer: "asyncio.Future[tuple[Result, float]]"


class Batcher(Generic[Item, Result]):
    """Runs `run` on lists of items, which gives one result per item, in order."""

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Sequence[Result]],
        executor: Executor,
        max_weight: float,
        wait_s: float = 0.0,
        on_batch: Callable[[int], None] = lambda weight: None,
    ) -> None:
        """executor: where `run` runs. max_weight: most weight (prompts, images) in one call; an item heavier than that
        runs alone. wait_s: how long the first item of a batch waits for others. on_batch: told each batch's weight."""
        self._run = run
        self._executor = executor
        self._max_weight = max_weight
        self._wait_s = wait_s
        self._on_batch = on_batch
        self._waiting: deque[_Waiting[Item, Result]] = deque()
        self._worker: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        """Items that wait, those being run not counted."""
        return len(self._waiting)

    @property
    def waiting_weight(self) -> int:
        """Weight of the items that wait and that somebody still wants."""
        return sum(waiting.weight for waiting in self._waiting if not waiting.answer.done())

    @property
    def oldest_s(self) -> float:
        """Seconds that the oldest of them has waited; 0 when none waits. For any thread."""
        since = next((waiting.since for waiting in self._waiting.copy() if not waiting.answer.done()), None)
        return 0.0 if since is None else time.monotonic() - since

    async def submit(
        self, item: Item, weight: int = 1, deadline: float | None = None
    ) -> tuple[Result, float]:
        """The item's result, and the seconds it waited before its batch started.

        deadline: `time.time()` after which nobody wants it: DeadlineExceeded. Raises what `run` raises for
        it.
        """
        loop = asyncio.get_running_loop()
        waiting: _Waiting[Item, Result] = _Waiting(
            item, weight, deadline, time.monotonic(), loop.create_future()
        )
        self._waiting.append(waiting)
        if self._worker is None or self._worker.done():
            self._worker = loop.create_task(self._work())
        return await waiting.answer

    async def _work(self) -> None:
        while self._waiting:
            if self._wait_s:
                await asyncio.sleep(self._wait_s)
            batch = self._take()
            if batch:
                await self._answer(batch)

    def _take(self) -> list[_Waiting[Item, Result]]:
        batch: list[_Waiting[Item, Result]] = []
        weight = 0
        while self._waiting and (not batch or weight + self._waiting[0].weight <= self._max_weight):
            waiting = self._waiting.popleft()
            if waiting.answer.done():
                continue
            if waiting.deadline is not None and waiting.deadline < time.time():
                waiting.answer.set_exception(DeadlineExceeded())
                continue
            batch.append(waiting)
            weight += waiting.weight
        return batch

    async def _answer(self, batch: list[_Waiting[Item, Result]]) -> None:
        started = time.monotonic()
        items = [waiting.item for waiting in batch]
        try:
            self._on_batch(sum(waiting.weight for waiting in batch))
            results = await asyncio.get_running_loop().run_in_executor(self._executor, self._run, items)
            if len(results) != len(items):
                raise RuntimeError(f"{len(results)} results for a batch of {len(items)}")
        except Exception as error:
            for waiting in batch:
                if len(batch) > 1:
                    await self._answer([waiting])
                elif not waiting.answer.done():
                    waiting.answer.set_exception(error)
        else:
            for waiting, result in zip(batch, results, strict=True):
                if not waiting.answer.done():
                    waiting.answer.set_result((result, started - waiting.since))
