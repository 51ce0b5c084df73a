"""A call, its hedge, and the first answer of the two. docs/retries.md sets hedges beside all retries."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Hashable
from contextlib import suppress
from typing import Any, TypeVar

from deployments.config import HedgeConfig
from deployments.hedging.pace import Budget, Pace
from deployments.observe.metrics import NAMES, Metrics
from deployments.ray.replicas import TRIAL_S, Replicas, Route

T = TypeVar("T")
Ask = Callable[[str], Coroutine[Any, Any, T]]
"""Sends the call under a session."""


class Hedges:
    """The hedged calls of one deployment, whose calls change nothing that a second one would change again."""

    def __init__(self, config: HedgeConfig, replicas: Replicas, metrics: Metrics, part: str) -> None:
        """part: of the deployment, in metrics."""
        self._pace = Pace(config.after_s)
        self._budget = Budget(config.share)
        self._replicas = replicas
        self._metrics = metrics
        self._part = part
        self._trials: set[asyncio.Task[None]] = set()
        metrics.follow(NAMES.silent_replicas, lambda: float(replicas.silent), part=part)

    async def answer(self, kind: Hashable, key: str, ask: Ask[T]) -> T:
        """The first answer. An error counts only where no other call of the two can still be answered.

        kind: of calls that take about equally long. key: what the router hashes. Raises what the first call raises.
        Cancelling it cancels both calls.
        """
        began = time.monotonic()
        self._budget.earn()
        self._begin_trial(kind, key, ask, began)
        with self._replicas.route(key) as route:
            session = self._replicas.session(route)
            first = asyncio.ensure_future(ask(session))
            try:
                while not (await asyncio.wait([first], timeout=self._pace.patience_s(kind)))[0]:
                    if self._may_hedge(route):
                        answer = await self._either(first, session, began, route, ask)
                        break
                else:
                    answer = first.result()
                    self._replicas.answered(route, session, time.monotonic())
            finally:
                _leave(first)
        self._pace.took(kind, time.monotonic() - began)
        return answer

    def _may_hedge(self, route: Route) -> bool:
        """What waits for a silent replica is moved, which costs nobody else anything."""
        return self._replicas.can_hedge(route) and (
            self._replicas.waits_for_silent(route) or self._budget.spend()
        )

    async def _either(
        self, first: "asyncio.Future[T]", session: str, began: float, route: Route, ask: Ask[T]
    ) -> T:
        other = self._replicas.session(route)
        hedge = asyncio.ensure_future(ask(other))
        won = False
        try:
            done, _ = await asyncio.wait([first, hedge], return_when=asyncio.FIRST_COMPLETED)
            if not any(_answered(each) for each in done):
                await asyncio.wait([first, hedge])
            won = _answered(hedge) and not _answered(first)
        finally:
            _leave(hedge)
            self._metrics.add(NAMES.hedges, part=self._part, outcome="won" if won else "lost")
        now = time.monotonic()
        if won:
            self._replicas.answered(route, other, now)
            self._replicas.outrun(route, session, began, now)
            return hedge.result()
        answer = first.result()
        self._replicas.answered(route, session, now)
        return answer

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


def _answered(call: "asyncio.Future[Any]") -> bool:
    return call.done() and not call.cancelled() and call.exception() is None


def _leave(call: "asyncio.Future[Any]") -> None:
    """End a call whose result nobody looks at."""
    if not call.cancel() and not call.cancelled():
        call.exception()
