import asyncio
from collections.abc import Sequence

import pytest

from deployments.pool.gathering import Gathering


class Doubler:
    """Doubles numbers; holds its answers back until it may go on."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.go_on = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.calls.append(list(numbers))
        await self.go_on.wait()
        if self.error:
            raise self.error
        return [2 * number for number in numbers]


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_questions_that_come_during_a_call_go_together() -> None:
    double = Doubler()
    gathering = Gathering(double)
    first = asyncio.create_task(gathering.ask(1))
    await settle()
    others = [asyncio.create_task(gathering.ask(number)) for number in (2, 3, 4)]
    await settle()
    assert double.calls == [[1]]
    double.go_on.set()
    assert await asyncio.gather(first, *others) == [2, 4, 6, 8]
    assert double.calls == [[1], [2, 3, 4]]
    assert await gathering.ask(5) == 10


async def test_an_error_reaches_those_of_its_call_and_no_others() -> None:
    double = Doubler()
    double.error = RuntimeError("away")
    gathering = Gathering(double)
    first = asyncio.create_task(gathering.ask(1))
    await settle()
    double.go_on.set()
    with pytest.raises(RuntimeError, match="away"):
        await first
    double.error = None
    assert await gathering.ask(2) == 4


async def test_who_leaves_is_not_asked_for_and_disturbs_nobody() -> None:
    double = Doubler()
    gathering = Gathering(double)
    tasks = [asyncio.create_task(gathering.ask(1))]
    await settle()
    tasks += [asyncio.create_task(gathering.ask(number)) for number in (2, 3)]
    await settle()
    tasks[0].cancel()
    tasks[1].cancel()
    await settle()
    double.go_on.set()
    assert await tasks[2] == 6
    assert double.calls == [[1], [3]]
    assert all(task.cancelled() for task in tasks[:2])
