import asyncio

import pytest

from deployments.single_flight import SingleFlight


class Work:
    """Counts its runs; finishes when told."""

    def __init__(self) -> None:
        self.runs = 0
        self.cancelled = 0
        self.gate = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self) -> int:
        self.runs += 1
        number = self.runs
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error:
            raise self.error
        return number


async def start(flights: SingleFlight[int], key: str, work: Work) -> "asyncio.Task[int]":
    task = asyncio.ensure_future(flights.run(key, work))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return task


async def test_callers_at_the_same_time_share_one_run() -> None:
    flights, work = SingleFlight[int](), Work()
    asking = [await start(flights, "a", work) for _ in range(3)]
    work.gate.set()
    assert await asyncio.gather(*asking) == [1, 1, 1]
    assert await flights.run("a", work) == 2  # nothing is kept


async def test_other_keys_run_by_themselves() -> None:
    flights, work = SingleFlight[int](), Work()
    asking = [await start(flights, key, work) for key in "ab"]
    work.gate.set()
    assert sorted(await asyncio.gather(*asking)) == [1, 2]


async def test_an_error_is_shared_and_not_kept() -> None:
    flights, work = SingleFlight[int](), Work()
    work.error = ValueError("no")
    asking = [await start(flights, "a", work) for _ in range(2)]
    work.gate.set()
    results = await asyncio.gather(*asking, return_exceptions=True)
    assert all(isinstance(result, ValueError) for result in results)
    work.error = None
    assert await flights.run("a", work) == 2


async def test_one_cancellation_leaves_the_others() -> None:
    flights, work = SingleFlight[int](), Work()
    first, second = [await start(flights, "a", work) for _ in range(2)]
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    work.gate.set()
    assert await second == 1


async def test_the_last_one_to_go_ends_the_run() -> None:
    flights, work = SingleFlight[int](), Work()
    asking = [await start(flights, "a", work) for _ in range(2)]
    for task in asking:
        task.cancel()
    await asyncio.gather(*asking, return_exceptions=True)
    await asyncio.sleep(0)
    assert work.cancelled == 1
    work.gate.set()
    assert await flights.run("a", work) == 2


async def test_a_newcomer_does_not_join_a_run_that_is_ending() -> None:
    flights, work = SingleFlight[int](), Work()
    first = await start(flights, "a", work)
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    second = await start(flights, "a", work)
    work.gate.set()
    assert await second == 2
