import asyncio

import pytest

from deployments.fairness.flows import Share
from deployments.fairness.places import Places
from deployments.fairness.queue import FairQueue, QueueFull, Rules

A, B = Share("a"), Share("b")


def one_place(most: int = 100) -> Places:
    return Places(FairQueue(Rules(most, 1), lambda: 1))


async def test_a_caller_waits_for_its_turn() -> None:
    places = one_place()
    first = await places.enter(A)
    second = asyncio.create_task(places.enter(A))
    await asyncio.sleep(0)
    assert not second.done()
    places.queue.leave(first)
    places.queue.leave(await second)
    assert places.queue.inside == 0


async def test_a_cancelled_wait_frees_its_place() -> None:
    places = one_place()
    first = await places.enter(A)
    gone = asyncio.create_task(places.enter(A))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    assert places.queue.inside == 1
    places.queue.leave(first)


async def test_a_wait_that_is_cancelled_when_its_turn_has_come_passes_the_place_on() -> None:
    places = one_place()
    first = await places.enter(A)
    gone, next_one = asyncio.create_task(places.enter(A)), asyncio.create_task(places.enter(A))
    await asyncio.sleep(0)
    places.queue.leave(first)
    gone.cancel()
    passed_on = await next_one
    assert places.queue.inside == 1
    assert gone.cancelled()
    places.queue.leave(passed_on)
    assert places.queue.inside == 0


async def test_a_displaced_caller_is_told_at_once() -> None:
    places = one_place(most=3)
    await places.enter(A)
    waiting = [asyncio.create_task(places.enter(A)) for _ in range(2)]
    await asyncio.sleep(0)
    other = asyncio.create_task(places.enter(B))
    with pytest.raises(QueueFull):
        await waiting[1]
    assert not waiting[0].done()
    for task in (waiting[0], other):
        task.cancel()
    await asyncio.gather(waiting[0], other, return_exceptions=True)


async def test_a_block_gives_its_place_back_whatever_happens() -> None:
    places = one_place()
    with pytest.raises(ValueError, match="mine"):
        async with places.place(A):
            raise ValueError("mine")
    assert places.queue.inside == 0
