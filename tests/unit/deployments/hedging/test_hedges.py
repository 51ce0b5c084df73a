"""Calls of replicas that answer, hang, fail or come back, with a router that knows a ring of them."""

import asyncio
from collections.abc import Callable

import pytest

from deployments.config import HedgeConfig
from deployments.hedging import hedges as module
from deployments.hedging.hedges import Hedges
from deployments.hedging.pace import MOST_TOKENS, Pace
from deployments.observe.metrics import Metrics
from deployments.ray.replicas import Replicas

AFTER_S = 0.01
WON, LOST = (
    f'sam3_hedges_total{{outcome="{outcome}",part="decoder",target=""}}' for outcome in ("won", "lost")
)
SILENT = 'sam3_silent_replicas{part="decoder",target=""}'


class Deployment:
    """Replicas by name: an answer, an error, or None for one that hangs. Calls go to the first of the ring."""

    def __init__(self, share: float = 0.02, **replicas: str | Exception | None) -> None:
        self.replicas = replicas
        self.seen = Replicas()
        self.seen.update(replicas)
        self.metrics = Metrics()
        self.hedges = Hedges(HedgeConfig(AFTER_S, share), self.seen, self.metrics, "decoder")
        self.asked: list[str] = []
        self.cancelled: list[str] = []
        self.awake = asyncio.Event()

    async def ask(self, session: str) -> str:
        """Act as a handle: its router chooses a replica, and the replica answers."""
        allowed = self.seen.allowed(session)
        name = next(name for name in self.replicas if allowed is None or name in allowed)
        self.seen.sent(session, name)
        self.asked.append(name)
        try:
            if self.replicas[name] is None:
                await self.awake.wait()
                return f"late {name}"
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.cancelled.append(name)
            raise
        found = self.replicas[name]
        if isinstance(found, Exception):
            raise found
        return str(found)

    async def call(self, kind: str = "click") -> str:
        return await self.hedges.answer(kind, "key", self.ask)

    def values(self, name: str) -> float:
        return self.metrics.values.get(name, 0.0)


@pytest.fixture(autouse=True)
def no_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pace is known from the start."""
    monkeypatch.setattr(Pace, "patience_s", lambda *_: AFTER_S)
    monkeypatch.setattr(module, "TRIAL_S", AFTER_S)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)


async def test_an_answer_in_time_costs_one_call() -> None:
    made = Deployment(a="A", b="B")
    assert await made.call() == "A"
    assert made.asked == ["a"]
    assert made.metrics.values.keys() == {SILENT}


async def test_a_call_that_hangs_is_answered_by_the_next_replica_and_cancelled() -> None:
    made = Deployment(a=None, b="B")
    assert await made.call() == "B"
    await until(lambda: made.cancelled == ["a"])
    assert made.values(WON) == 1


async def test_the_first_answer_counts_and_its_hedge_is_cancelled() -> None:
    made = Deployment(a=None, b=None)
    waiting = asyncio.ensure_future(made.call())
    await until(lambda: made.asked == ["a", "b"])
    made.replicas["b"] = "B"
    made.awake.set()
    assert await waiting == "late a"
    assert made.values(LOST) == 1
    assert made.values(SILENT) == 0


async def test_the_hedges_error_does_not_count_while_the_call_may_be_answered() -> None:
    made = Deployment(a=None, b=ValueError("no"))
    waiting = asyncio.ensure_future(made.call())
    await until(lambda: made.asked == ["a", "b"])
    made.awake.set()
    assert await waiting == "late a"


async def test_the_calls_error_does_not_count_while_the_hedge_may_be_answered() -> None:
    made = Deployment(a=None, b=None)

    async def ask(session: str) -> str:
        answer = await made.ask(session)
        if made.asked[0] == "a" and answer == "late a":
            raise ConnectionError
        await asyncio.sleep(AFTER_S)
        return answer

    waiting = asyncio.ensure_future(made.hedges.answer("click", "key", ask))
    await until(lambda: made.asked == ["a", "b"])
    made.awake.set()
    assert await waiting == "late b"


async def test_when_both_fail_the_error_is_the_calls() -> None:
    made = Deployment(a=None, b=ValueError("the hedge's"))

    async def ask(session: str) -> str:
        if await made.ask(session) == "late a":
            raise KeyError("the call's")
        raise AssertionError

    waiting = asyncio.ensure_future(made.hedges.answer("click", "key", ask))
    await until(lambda: made.asked == ["a", "b"])
    made.awake.set()
    with pytest.raises(KeyError):
        await waiting


async def test_an_error_in_time_is_not_asked_again() -> None:
    made = Deployment(a=ValueError("no"), b="B")
    with pytest.raises(ValueError, match="no"):
        await made.call()
    assert made.asked == ["a"]


async def test_one_replica_is_waited_for() -> None:
    made = Deployment(a=None)
    waiting = asyncio.ensure_future(made.call())
    await asyncio.sleep(5 * AFTER_S)
    assert made.asked == ["a"]
    made.awake.set()
    assert await waiting == "late a"


async def test_another_replica_that_comes_up_is_asked() -> None:
    made = Deployment(a=None)
    waiting = asyncio.ensure_future(made.call())
    await until(lambda: made.asked == ["a"])
    made.replicas["b"] = "B"
    made.seen.update("ab")
    assert await waiting == "B"


async def test_who_leaves_cancels_both_calls() -> None:
    made = Deployment(a=None, b=None)
    waiting = asyncio.ensure_future(made.call())
    await until(lambda: made.asked == ["a", "b"])
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await until(lambda: sorted(made.cancelled) == ["a", "b"])


async def test_a_replica_that_hangs_is_passed_over_and_gets_copies_that_nobody_waits_for() -> None:
    made = Deployment(a=None, b="B")
    answers = [await made.call() for _ in range(50)]
    assert answers == ["B"] * 50
    assert made.values(WON) == 1, "only the first one had to be hedged"
    assert made.values(SILENT) == 1
    assert made.asked.count("a") >= 2
    await until(lambda: made.cancelled.count("a") == made.asked.count("a"))


async def test_a_replica_that_is_back_gets_its_calls_back() -> None:
    made = Deployment(a=None, b="B")
    assert await made.call() == "B"
    made.replicas["a"] = "A"
    made.awake.set()
    async with asyncio.timeout(30):
        while await made.call() != "A":
            await asyncio.sleep(0.001)
    assert made.values(SILENT) == 0


async def test_all_calls_of_a_replica_that_hangs_are_moved_whatever_the_budget() -> None:
    calls = 5 * int(MOST_TOKENS)
    made = Deployment(a=None, b="B")
    async with asyncio.timeout(30):
        assert await asyncio.gather(*(made.call() for _ in range(calls))) == ["B"] * calls


async def test_replicas_that_are_all_slow_get_few_more_calls() -> None:
    calls = 200
    made = Deployment(share=0.02, a=None, b=None)
    waiting = [asyncio.ensure_future(made.call()) for _ in range(calls)]
    await until(lambda: len(made.asked) >= calls)
    await asyncio.sleep(10 * AFTER_S)
    assert len(made.asked) <= calls + MOST_TOKENS
    made.awake.set()
    await asyncio.gather(*waiting)


async def test_nothing_is_left_of_calls_that_are_over() -> None:
    made = Deployment(a=None, b="B")
    for _ in range(10):
        await made.call()
    await until(lambda: not made.hedges._trials)
    assert not made.seen._routes


async def test_a_deadline_of_the_caller_ends_both_calls() -> None:
    made = Deployment(a=None, b=None)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5 * AFTER_S):
            await made.call()
    await until(lambda: sorted(made.cancelled) == ["a", "b"])


async def test_a_call_that_its_hedge_ended_leaves_its_caller_as_it_was() -> None:
    made = Deployment(a=None, b="B")

    async def caller() -> int:
        async with asyncio.timeout(30):
            assert await made.call() == "B"
        await asyncio.sleep(0)
        task = asyncio.current_task()
        assert task is not None
        return task.cancelling()

    assert await asyncio.create_task(caller()) == 0


async def test_a_call_that_turns_its_cancellation_into_an_error_is_over_too() -> None:
    made = Deployment(a=None, b="B")

    async def ask(session: str) -> str:
        try:
            return await made.ask(session)
        except asyncio.CancelledError:
            raise ConnectionError from None

    assert await made.hedges.answer("click", "key", ask) == "B"
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
