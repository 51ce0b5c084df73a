"""Decoders and a shard together, without Ray: messages take their time and overtake one another."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from deployments.config import Budget
from deployments.keys import derived_id
from deployments.messages import Named, NameQuestion, Source, Square
from deployments.observe.metrics import LocalMetrics
from deployments.pool import leases as leases_module
from deployments.pool import lessee as lessee_module
from deployments.pool import lessor as naming_module
from deployments.pool.embedding_pool import EmbeddingPool
from deployments.pool.leases import Leases, Name
from deployments.pool.lessee import LeasedNames
from deployments.pool.lessor import Lessor
from deployments.pool.replication import Peer, Replication
from deployments.protocol import Overloaded

DECODERS = 3


def digest(number: int) -> str:
    return f"{number:064x}"


async def no_encode(image: Square | Source) -> tuple[Any, int]:
    raise AssertionError("nothing is encoded here")


def no_peer(shard: int) -> Peer:
    raise AssertionError("there is one shard")


@dataclass
class Shard:
    """`Shards` of one shard, its messages delayed at random. deaf: lessees whom recalls do not reach."""

    seed: int = 0
    idle_ttl_s: float = 60.0
    deaf: set[str] = field(default_factory=set)
    copied: list[asyncio.Event] = field(default_factory=list)
    """When set, a copy has arrived: one for each that is to take its time."""
    asked: int = 0
    away: int = 0
    """So many attempts to listen to it fail."""
    shards: int = 1

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        budget = Budget(1, 1, self.idle_ttl_s)
        self.pool = EmbeddingPool(no_encode, budget, LocalMetrics(), copy=self._copy)
        self.lessor = Lessor(self.pool, Replication(self.pool, 0, 1, no_peer), leases := Leases())
        self.leases = leases

    async def name(
        self, tenant: str, image_id: str, digest: str | None, received: float, lessee: str
    ) -> Named:
        self.asked += 1
        await self._delay()
        named = await self.lessor.answer(NameQuestion(tenant, image_id, digest, received, lessee))
        await self._delay()
        return named

    async def recalls(self, shard: int, lessee: str, heard: int) -> tuple[list[Name], int]:
        await self._delay()
        if self.away:
            self.away -= 1
            raise Overloaded
        if lessee in self.deaf:
            await asyncio.sleep(3600)
        found = await self.leases.listen(lessee, heard)
        await self._delay()
        return found

    async def _copy(self, copy: object) -> None:
        if self.copied:
            await self.copied.pop().wait()

    async def _delay(self) -> None:
        for _ in range(self._random.randrange(8)):
            await asyncio.sleep(0)


@asynccontextmanager
async def decoders(shard: Shard, count: int = DECODERS) -> AsyncIterator[list[LeasedNames]]:
    made = [LeasedNames(shard) for _ in range(count)]
    yield made
    for one in made:
        one.close()


async def test_an_id_in_use_is_asked_for_once() -> None:
    shard = Shard()
    async with decoders(shard, 1) as [one]:
        await one.resolve("t", "pet", digest(1), time.time())
        for _ in range(20):
            assert await one.resolve("t", "pet", None, time.time()) == digest(1)
            assert await one.resolve("t", "pet", digest(1), time.time()) == digest(1)
    assert shard.asked == 1


async def test_an_id_that_names_nothing_is_asked_for_each_time() -> None:
    shard = Shard()
    async with decoders(shard, 2) as [one, two]:
        assert await one.resolve("t", "pet", None, time.time()) is None
        await two.resolve("t", "pet", digest(1), time.time())
        assert await one.resolve("t", "pet", None, time.time()) == digest(1)


async def test_leases_end(monkeypatch: pytest.MonkeyPatch) -> None:
    shard = Shard(idle_ttl_s=0.1)
    async with decoders(shard, 1) as [one]:
        await one.resolve("t", "pet", digest(1), time.time())
        await asyncio.sleep(0.06)
        await one.resolve("t", "pet", None, time.time())
    assert shard.asked == 2, "used every now and then, so it is never idle"


async def test_without_an_asker_nothing_is_promised() -> None:
    shard = Shard()
    named = await shard.lessor.answer(NameQuestion("t", "pet", digest(1), time.time()))
    assert named == Named(digest(1))
    assert len(shard.leases) == 0


async def test_another_shard_that_stands_in_promises_nothing_and_changes_late(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(naming_module, "LEASE_S", 0.1)
    shard = Shard()
    monkeypatch.setattr(Replication, "is_home", lambda *_: False)
    asked = NameQuestion("t", "pet", digest(1), time.time(), "one")
    assert await shard.lessor.answer(asked) == Named(digest(1))
    started = time.monotonic()
    assert await shard.lessor.answer(NameQuestion("t", "pet", digest(2), time.time(), "one")) == Named(
        digest(2)
    )
    assert time.monotonic() - started >= 0.1, "the home may have promised"


async def test_what_was_replaced_while_it_was_copied_is_not_promised() -> None:
    arrived = asyncio.Event()
    shard = Shard(copied=[arrived])
    async with decoders(shard, 2) as [one, two]:
        first = asyncio.create_task(one.resolve("t", "pet", digest(1), time.time()))
        while shard.copied:
            await asyncio.sleep(0)
        await two.resolve("t", "pet", digest(2), time.time())
        arrived.set()
        await first
        assert await one.resolve("t", "pet", None, time.time()) == digest(2)


async def test_a_lease_counts_from_when_it_was_asked_for() -> None:
    now = 0.0

    class Late(Shard):
        async def name(self, *args: Any) -> Named:
            named = await super().name(*args)
            nonlocal now
            now += 4.0
            return named

    shard = Late()
    one = LeasedNames(shard, lambda: now)
    await one.resolve("t", "pet", digest(1), time.time())
    now += 2.0
    await one.resolve("t", "pet", None, time.time())
    assert shard.asked == 2
    one.close()


@pytest.mark.parametrize("image_id", ["pet", derived_id(digest(1))])
async def test_a_deleted_image_is_not_answered_for(image_id: str) -> None:
    shard = Shard()
    async with decoders(shard) as each:
        await each[0].resolve("t", image_id, digest(1), time.time())
        for one in each:
            assert await one.resolve("t", image_id, None, time.time()) == digest(1)
        await shard.lessor.delete("t", digest(1), time.time())
        assert [await one.resolve("t", image_id, None, time.time()) for one in each] == [None] * DECODERS


@pytest.mark.parametrize("deaf", [False, True])
@pytest.mark.parametrize("seed", range(20))
async def test_nobody_is_answered_with_what_was_replaced_before_he_asked(
    seed: int, deaf: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One decoder after another gives an id a new image while all are asked for it, also where recalls never arrive."""
    monkeypatch.setattr(naming_module, "LEASE_S", 0.02)
    monkeypatch.setattr(leases_module, "LEASE_S", 0.02)
    shard = Shard(seed)
    rounds = 5 if deaf else 40
    latest, done = 0, False
    chance = random.Random(seed)
    asked = 0

    async def replace(each: list[LeasedNames]) -> None:
        nonlocal latest, done
        for number in range(1, rounds + 1):
            await chance.choice(each).resolve("t", "pet", digest(number), time.time())
            latest = max(latest, number)
            await asyncio.sleep(chance.random() * 0.002)
        done = True

    async def ask(one: LeasedNames) -> None:
        nonlocal latest, asked
        while not done:
            at_least = latest
            found = await one.resolve("t", "pet", None, time.time())
            number = int(found, 16) if found else 0
            assert number >= at_least
            latest = max(latest, number)  # who asks after this may not get less either
            asked += 1
            await asyncio.sleep(0)

    async with decoders(shard) as each:
        if deaf:
            shard.deaf.add(each[0].lessee)
        await asyncio.gather(replace(each), *(ask(one) for one in each for _ in range(2)))
    assert shard.asked < asked, "leases were used"


async def test_a_shard_that_was_away_is_listened_to_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lessee_module, "RETRY_S", 0.01)
    for module in (leases_module, naming_module):
        monkeypatch.setattr(module, "LEASE_S", 3600.0)
    shard = Shard(away=3)
    async with decoders(shard, 2) as [one, two], asyncio.timeout(60):
        await one.resolve("t", "pet", digest(1), time.time())
        await two.resolve("t", "pet", digest(2), time.time())  # waits until the first one has heard of it
        assert await one.resolve("t", "pet", None, time.time()) == digest(2)
    assert shard.away == 0
