"""A call, its hedge, and the first answer of the two. docs/retries.md sets hedges beside all retries.

The call runs in its caller's task, so that the usual one, which is answered in time, costs a timer and no task. A hedge
runs in a task of its own. When it is answered first, it cancels the call, as `asyncio.timeout` does.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Hashable
from contextlib import suppress
from typing import Any, Generic, TypeVar

from deployments.config import HedgeConfig
from deployments.hedging.pace import Budget, Pace
from deployments.observe.metrics import NAMES, Metrics
from deployments.ray.replicas import TRIAL_S, Replicas, Route

T = TypeVar("T")
Ask = Callable[[str], Coroutine[Any, Any, T]]
"""Sends the call under a session."""


class Hedges:
    """The hedged calls of one deployment, whose calls change nothing that a second one would change again."""

    def __init__(
        self, config: HedgeConfig, replicas: Replicas, metrics: Metrics, part: str, target: str = ""
    ) -> None:
        """part: of the deployment, in metrics. target: its name there, where several have one part."""
        self._pace = Pace(config.after_s)
        self._budget = Budget(config.share)
        self._replicas = replicas
        self._metrics = metrics
        self._labels = {"part": part, "target": target}
        self._trials: set[asyncio.Task[None]] = set()
        metrics.follow(NAMES.silent_replicas, lambda: float(replicas.silent), **self._labels)

    async def answer(self, kind: Hashable, key: str, ask: Ask[T]) -> T:
        """The first answer. An error counts only where the other one of the two calls cannot be answered any more.

        kind: of calls that take about equally long. key: for the router to hash. Raises the error of the first call.
        Cancelling it cancels both calls.
        """
        began = time.monotonic()
        self._budget.earn()
        self._begin_trial(kind, key, ask, began)
        with self._replicas.route(key) as route:
            session = self._replicas.session(route)
            hedge = _Hedge(lambda: self._second_session(route), ask, self._pace.patience_s(kind))
            try:
                answer, won = await hedge.first_answer(session)
            finally:
                hedge.end()
                if hedge.session:
                    outcome = "won" if hedge.won else "lost"
                    self._metrics.add(NAMES.hedges, 1, outcome=outcome, **self._labels)
            now = time.monotonic()
            self._replicas.answered(route, hedge.session if won else session, now)
            if won:
                self._replicas.outrun(route, session, began, now)
        self._pace.took(kind, now - began)
        return answer

    def _second_session(self, route: Route) -> str:
        """The session of a call's hedge; empty while the call may have none.

        A call that waits for silent replicas alone is moved to any other one: that takes nothing from the budget.
        """
        if self._replicas.can_hedge(route) and (
            self._replicas.waits_for_silent(route) or self._budget.spend()
        ):
            return self._replicas.session(route)
        return ""

    def _begin_trial(self, kind: Hashable, key: str, ask: Ask[Any], now: float) -> None:
        replica = self._replicas.trial(now) if self._replicas.silent else None
        if replica is not None:
            task = asyncio.create_task(
                self._trial(replica, max(TRIAL_S, self._pace.patience_s(kind)), key, ask)
            )
            self._trials.add(task)
            task.add_done_callback(self._trials.discard)

    async def _trial(self, replica: str, seconds: float, key: str, ask: Ask[Any]) -> None:
        try:
            with self._replicas.route(key, only=replica) as route, suppress(Exception):
                session = self._replicas.session(route)
                async with asyncio.timeout(seconds):
                    await ask(session)
                self._replicas.answered(route, session, time.monotonic())
        finally:
            self._replicas.trial_ended(replica, time.monotonic())


class _Hedge(Generic[T]):
    """The hedge of one call: waiting -> asked -> ended; it may end from either. `won`: it was answered first."""

    def __init__(self, may: Callable[[], str], ask: Ask[T], patience_s: float) -> None:
        """may: gives the hedge's session, or none, and is asked again after another `patience_s`."""
        self._may = may
        self._ask = ask
        self._patience_s = patience_s
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(patience_s, self._begin)
        self._caller: asyncio.Task[Any] | None = asyncio.current_task()
        """The call's task, while the hedge may cancel the call."""
        self._task: asyncio.Task[T] | None = None
        self.session = ""
        self.won = False
        self._cancelled = False
        """True once the hedge has cancelled the call."""

    async def first_answer(self, session: str) -> tuple[T, bool]:
        """The call's answer, or its hedge's and True."""
        caller = self._caller
        assert caller is not None
        others = caller.cancelling()
        try:
            return await self._ask(session), False
        except asyncio.CancelledError:
            if not self._cancelled or caller.cancelling() > others + 1:  # someone else cancels it
                raise
        except Exception:
            self._caller = None
            if self._task is None:
                raise
            await asyncio.wait([self._task])
            if not _answered(self._task):
                raise
            self.won = True
        finally:
            if self._cancelled:
                caller.uncancel()
        assert self._task is not None
        return self._task.result(), True

    def end(self) -> None:
        """Nobody waits for it any more."""
        self._caller = None
        self._timer.cancel()
        if self._task is not None and not self._task.cancel() and not self._task.cancelled():
            self._task.exception()  # nobody looks at it

    def _begin(self) -> None:
        self.session = self._may()
        if not self.session:
            self._timer = self._loop.call_later(self._patience_s, self._begin)
            return
        self._task = self._loop.create_task(self._ask(self.session))
        self._task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[T]") -> None:
        if self._caller is not None and _answered(task):
            self.won = self._cancelled = True
            self._caller.cancel()
            self._caller = None


def _answered(call: "asyncio.Task[Any]") -> bool:
    return not call.cancelled() and call.exception() is None
