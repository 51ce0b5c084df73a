import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from deployments.model.batcher import Batcher
from deployments.protocol import DeadlineExceeded


class Model:
    """Doubles numbers, remembers its batches, and refuses negative ones. Waits for `go` when that is set."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go: threading.Event | None = None

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        if self.go:
            assert self.go.wait(10)
        if any(item < 0 for item in items):
            raise ValueError("negative")
        return [2 * item for item in items]


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


@pytest.fixture
def model() -> Model:
    return Model()


async def started(model: Model, batches: int = 1) -> None:
    while len(model.batches) < batches:
        await asyncio.sleep(0.001)


async def test_items_that_come_while_a_batch_runs_are_the_next_batch(
    model: Model, executor: ThreadPoolExecutor
) -> None:
    batcher = Batcher(model, executor, max_weight=8)
    model.go = threading.Event()
    first = asyncio.create_task(batcher.submit(0))
    await started(model)
    others = [asyncio.create_task(batcher.submit(number)) for number in range(1, 6)]
    await asyncio.sleep(0)
    assert len(batcher) == 5
    model.go.set()
    answers = await asyncio.gather(first, *others)
    assert [result for result, _ in answers] == [0, 2, 4, 6, 8, 10]
    assert model.batches == [[0], [1, 2, 3, 4, 5]]
    assert all(queue_s >= 0 for _, queue_s in answers)


async def test_waiting_items_are_told_to_the_autoscaling(model: Model, executor: ThreadPoolExecutor) -> None:
    batcher = Batcher(model, executor, max_weight=8)
    model.go = threading.Event()
    calls = [asyncio.create_task(batcher.submit(0, 5))]
    await started(model)
    assert (batcher.waiting_weight, batcher.oldest_s) == (0, 0.0), "what runs does not wait"
    calls += [asyncio.create_task(batcher.submit(1, 3)), asyncio.create_task(batcher.submit(2, 2))]
    await asyncio.sleep(0)
    assert batcher.waiting_weight == 5
    assert batcher.oldest_s > 0
    calls[1].cancel()
    await asyncio.sleep(0)
    assert batcher.waiting_weight == 2, "who left does not count"
    model.go.set()
    await asyncio.gather(*calls, return_exceptions=True)
    assert (batcher.waiting_weight, batcher.oldest_s) == (0, 0.0)


async def test_batches_keep_to_the_weight_and_a_heavier_item_runs_alone(
    model: Model, executor: ThreadPoolExecutor
) -> None:
    weights: list[int] = []
    batcher = Batcher(model, executor, max_weight=4, on_batch=weights.append)
    model.go = threading.Event()
    calls = [asyncio.create_task(batcher.submit(0))]
    await started(model)
    calls += [
        asyncio.create_task(batcher.submit(item, weight)) for item, weight in [(1, 3), (2, 2), (3, 9), (4, 1)]
    ]
    await asyncio.sleep(0)
    model.go.set()
    await asyncio.gather(*calls)
    assert model.batches == [[0], [1], [2], [3], [4]]
    assert weights == [1, 3, 2, 9, 1]


async def test_one_bad_item_does_not_break_its_neighbours(model: Model, executor: ThreadPoolExecutor) -> None:
    batcher = Batcher(model, executor, max_weight=8, wait_s=0.001)
    answers = await asyncio.gather(*map(batcher.submit, [1, -1, 3]), return_exceptions=True)
    assert isinstance(answers[1], ValueError)
    assert [answers[0][0], answers[2][0]] == [2, 6]  # type: ignore[index]
    assert (await batcher.submit(4))[0] == 8


async def test_an_item_whose_caller_left_is_not_computed(model: Model, executor: ThreadPoolExecutor) -> None:
    batcher = Batcher(model, executor, max_weight=8)
    model.go = threading.Event()
    first = asyncio.create_task(batcher.submit(0))
    await started(model)
    gone, stays = asyncio.create_task(batcher.submit(1)), asyncio.create_task(batcher.submit(2))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    model.go.set()
    await asyncio.gather(first, stays)
    assert model.batches == [[0], [2]]


async def test_a_caller_that_leaves_while_the_model_works_does_not_disturb_the_others(
    model: Model, executor: ThreadPoolExecutor
) -> None:
    batcher = Batcher(model, executor, max_weight=8, wait_s=0.001)
    model.go = threading.Event()
    gone, stays = asyncio.create_task(batcher.submit(1)), asyncio.create_task(batcher.submit(2))
    await started(model)
    gone.cancel()
    await asyncio.sleep(0)
    model.go.set()
    assert (await stays)[0] == 4


async def test_expired_items_never_reach_the_model(model: Model, executor: ThreadPoolExecutor) -> None:
    batcher = Batcher(model, executor, max_weight=8, wait_s=0.001)
    late = batcher.submit(1, deadline=time.time() - 1)
    in_time = batcher.submit(2, deadline=time.time() + 60)
    answers = await asyncio.gather(late, in_time, return_exceptions=True)
    assert isinstance(answers[0], DeadlineExceeded)
    assert model.batches == [[2]]


async def test_a_model_that_loses_an_answer_is_an_error(executor: ThreadPoolExecutor) -> None:
    batcher: Batcher[int, int] = Batcher(lambda items: [], executor, max_weight=8)
    with pytest.raises(RuntimeError, match="0 results"):
        await batcher.submit(1)
