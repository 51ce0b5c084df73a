import asyncio
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from deployments.model.thread import Canary, ModelThread, Unhealthy


@pytest.fixture
def thread() -> Iterator[ModelThread]:
    with ModelThread("test") as made:
        yield made


class Call:
    """A model whose answer can be changed."""

    def __init__(self) -> None:
        self.answer = np.array([1.0, 2.0, 3.0])
        self.calls = 0

    def __call__(self) -> np.ndarray:
        self.calls += 1
        return self.answer


async def test_a_model_that_answers_as_before_is_well(thread: ModelThread) -> None:
    call = Call()
    canary = Canary(call, thread)
    call.answer = call.answer + 0.001
    await canary.check()
    assert call.calls == 2


@pytest.mark.parametrize("answer", [[1.0, 2.0, 4.0], [0.0, 0.0, 0.0], [1.0, 2.0, float("nan")]])
async def test_a_model_that_answers_otherwise_is_not(thread: ModelThread, answer: list[float]) -> None:
    call = Call()
    canary = Canary(call, thread)
    call.answer = np.array(answer)
    with pytest.raises(Unhealthy):
        await canary.check()


async def test_a_model_that_begins_with_nonsense_never_starts(thread: ModelThread) -> None:
    with pytest.raises(Unhealthy):
        Canary(lambda: np.array([float("inf")]), thread)


async def test_a_busy_model_is_left_alone_until_it_is_stuck(
    thread: ModelThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = Call()
    canary = Canary(call, thread)
    go, begun = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert go.wait(10)

    running = asyncio.get_running_loop().run_in_executor(thread, work)
    await asyncio.to_thread(begun.wait, 10)
    assert thread.busy_s > 0
    await canary.check()
    assert call.calls == 1
    monkeypatch.setattr(Canary, "STUCK_S", 0.0)
    with pytest.raises(Unhealthy, match="not come back"):
        await canary.check()
    go.set()
    await running
    assert thread.busy_s == 0


async def test_an_expensive_canary_is_not_repeated(
    thread: ModelThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Canary, "CHEAP_S", -1.0)
    call = Call()
    canary = Canary(call, thread)
    await canary.check()
    assert call.calls == 1


def test_the_share_of_time_in_which_the_model_ran(
    thread: ModelThread, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr("deployments.model.thread.time.monotonic", lambda: now)
    go, begun = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        assert go.wait(10)

    thread.busy_share()
    running = thread.submit(work)
    assert begun.wait(10)
    now += 3
    assert thread.busy_share() == 1.0, "a call that still runs counts"
    now += 1
    go.set()
    running.result()
    now += 3
    assert thread.busy_share() == 0.25
    now += 1
    assert thread.busy_share() == 0.0
