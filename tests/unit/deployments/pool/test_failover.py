import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from deployments.pool import failover
from deployments.pool.failover import Failover
from deployments.pool.replication import ShardGone


class Shards:
    """Shards that are there, hang or are dead."""

    def __init__(self) -> None:
        self.asked: list[int] = []
        self.dead: set[int] = set()
        self.hung: set[int] = set()
        self.cancelled = 0
        self.failovers = 0
        self.failover = Failover(self._there, self._count)

    def _count(self) -> None:
        self.failovers += 1

    async def _there(self, shard: int) -> None:
        if shard in self.dead:
            raise ShardGone
        if shard in self.hung:
            await asyncio.sleep(60)

    async def _answer(self, shard: int) -> int:
        self.asked.append(shard)
        try:
            await self._there(shard)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return shard

    async def call(self, *shards: int, ask: Callable[[int], Awaitable[Any]] | None = None) -> Any:
        return await self.failover.call(shards, ask or self._answer)


@pytest.fixture
def shards(monkeypatch: pytest.MonkeyPatch) -> Shards:
    monkeypatch.setattr(failover, "PATIENCE_S", 0.02)
    monkeypatch.setattr(failover, "PING_S", 0.02)
    monkeypatch.setattr(failover, "PROBE_S", 0.01)
    monkeypatch.setattr(failover, "GIVE_UP_S", 0.2)
    return Shards()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


async def test_the_home_answers_when_it_is_there(shards: Shards) -> None:
    assert await shards.call(0, 1) == 0
    assert (shards.asked, shards.failovers) == ([0], 0)


@pytest.mark.parametrize("how", ["dead", "hung"])
async def test_another_shard_answers_for_one_that_is_away_and_is_asked_first_from_then_on(
    shards: Shards, how: str
) -> None:
    getattr(shards, how).add(0)
    assert await shards.call(0, 1) == 1
    assert await shards.call(0, 1) == 1
    assert shards.asked == [0, 1, 1]
    assert shards.failovers == 1
    assert shards.cancelled == (how == "hung")


async def test_the_home_is_asked_again_once_it_is_back(shards: Shards) -> None:
    shards.dead.add(0)
    await shards.call(0, 1)
    shards.dead.clear()
    async with asyncio.timeout(60):
        while await shards.call(0, 1) != 0:
            await asyncio.sleep(0.01)


async def test_a_call_may_take_long_while_its_shard_is_there(shards: Shards) -> None:
    done = asyncio.Event()

    async def encode(shard: int) -> str:
        await done.wait()
        return "encoded"

    call = asyncio.create_task(shards.call(0, 1, ask=encode))
    await asyncio.sleep(0.15)
    assert not call.done()
    done.set()
    assert await call == "encoded"
    assert shards.failovers == 0


async def test_it_waits_for_a_shard_that_comes_back_and_gives_up_after_a_while(shards: Shards) -> None:
    shards.dead = {0}
    call = asyncio.create_task(shards.call(0))
    await asyncio.sleep(0.05)
    shards.dead.clear()
    assert await call == 0
    shards.dead = {0, 1}
    with pytest.raises(ShardGone):
        await shards.call(0, 1)


async def test_errors_of_the_call_itself_are_raised_at_once(shards: Shards) -> None:
    async def fail(shard: int) -> None:
        shards.asked.append(shard)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await shards.call(0, 1, ask=fail)
    assert shards.asked == [0]


async def test_a_death_that_the_ping_tells_first_leaves_no_error_behind(shards: Shards) -> None:
    died, unhandled = asyncio.Event(), list[dict[str, Any]]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))

    async def ask(shard: int) -> int:
        if shard == 0:
            await died.wait()
            raise ShardGone
        return shard

    async def ping(shard: int) -> None:
        died.set()
        for _ in range(5):  # the answer fails meanwhile
            await asyncio.sleep(0)
        raise ShardGone

    assert await Failover(ping).call((0, 1), ask) == 1
    gc.collect()
    await asyncio.sleep(0)
    assert unhandled == []


async def test_leaving_cancels_the_call(shards: Shards) -> None:
    shards.hung.add(0)
    call = asyncio.create_task(shards.call(0, 1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await until(lambda: shards.cancelled == 1)
