"""The client with shards that live in the test's process: real pools, and deaths between the calls."""

import asyncio
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ray.exceptions import ActorUnavailableError

from deployments.config import Budget, PoolConfig, StoreConfig
from deployments.keys import ImageKey, content_digest, shard_of
from deployments.messages import Source, Square
from deployments.observe.metrics import Metrics
from deployments.pool import client as module
from deployments.pool.client import EmbeddingPoolClient
from deployments.pool.embedding_pool import EmbeddingPool, PoolBusy
from deployments.protocol import Overloaded, StoreAway
from sam3_engine.types import ImageSize
from tests.support.memory_store import MemoryStore

SHARDS = 3
SIZE = ImageSize(30, 40)
PIXELS = np.zeros((2, 2, 3), np.uint8)


class Shard:
    """One actor: `shard.lookup.remote(key)` is awaited."""

    def __init__(self) -> None:
        self.dead = False
        self.error: Exception | None = None
        self.store = MemoryStore()
        self.pool = EmbeddingPool(self._encode, self.store, Budget(10**6, 60), Metrics())
        self.pool.since = 0

    async def _encode(self, image: Square | Source) -> tuple[Any, int]:
        if self.error:
            raise self.error
        return "ref", 10

    def __getattr__(self, name: str) -> Any:
        async def run(*args: Any) -> Any:
            if self.dead:
                raise ActorUnavailableError("gone", b"0" * 16)
            if name == "ping":
                return True
            given = args[:2] if name == "lookup" else args  # the rest is for traces
            found = getattr(self.pool, name)(*given)
            return await found if asyncio.iscoroutine(found) else found

        return SimpleNamespace(remote=run)


@pytest.fixture
def shards(monkeypatch: pytest.MonkeyPatch) -> list[Shard]:
    made = [Shard() for _ in range(SHARDS)]
    monkeypatch.setattr(module, "pool_shards", lambda config: made)
    monkeypatch.setattr("ray.put", lambda value: value)
    monkeypatch.setattr(module, "PAUSE_S", 0.01)
    monkeypatch.setattr(module, "GIVE_UP_S", 0.1)
    return made


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def client(shards: list[Shard], metrics: Metrics) -> EmbeddingPoolClient:
    return EmbeddingPoolClient(
        PoolConfig("app", SHARDS, Budget(1, 1), 1, StoreConfig("unix:///s", 1, 1)), metrics
    )


def key(number: int) -> ImageKey:
    return ImageKey("t", "m", content_digest(str(number).encode()))


def homes(shards: list[Shard], image: ImageKey) -> tuple[Shard, Shard]:
    """The shard that is asked first about an image, and the next one."""
    first = shard_of(image.tenant, image.digest, SHARDS)
    return shards[first], shards[(first + 1) % SHARDS]


async def ensure(client: EmbeddingPoolClient, image: ImageKey, quota: int | None = None) -> Any:
    return await client.ensure(image, PIXELS, SIZE, 5, None, quota)


async def test_images_are_spread_over_the_shards_and_found_again(
    client: EmbeddingPoolClient, shards: list[Shard]
) -> None:
    for number in range(30):
        await ensure(client, key(number))
        assert await client.lookup(key(number)) is not None
    assert all(len(shard.pool.directory) > 0 for shard in shards)
    assert sum(len(shard.pool.directory) for shard in shards) == 30
    assert await client.embeddings("t") == {key(number).digest: 10 for number in range(30)}


async def test_a_dead_shards_calls_go_to_the_next_one(
    client: EmbeddingPoolClient, shards: list[Shard], metrics: Metrics
) -> None:
    home, other = homes(shards, key(0))
    home.dead = True
    await ensure(client, key(0))
    assert key(0) in other.pool.directory
    assert await client.ready()
    assert metrics.values["sam3_pool_failovers_total"] >= 1


async def test_a_call_waits_for_shards_that_come_back_and_gives_up_after_a_while(
    client: EmbeddingPoolClient, shards: list[Shard]
) -> None:
    for shard in shards:
        shard.dead = True
    waiting = asyncio.create_task(ensure(client, key(0)))
    await asyncio.sleep(0.03)
    assert not waiting.done()
    homes(shards, key(0))[1].dead = False
    assert (await waiting).tier == "miss"
    homes(shards, key(0))[1].dead = True
    with pytest.raises(Overloaded):
        await ensure(client, key(0))


async def test_a_deletion_reaches_every_shard(client: EmbeddingPoolClient, shards: list[Shard]) -> None:
    home = homes(shards, key(0))[0]
    home.dead = True
    await ensure(client, key(0))
    home.dead = False
    await ensure(client, key(0))
    assert await client.delete("t", key(0).digest, 6)
    assert all(len(shard.pool.directory) == 0 for shard in shards)
    assert not await client.delete("t", key(0).digest, 7)


async def test_a_deletion_that_a_shard_does_not_confirm_is_refused(
    client: EmbeddingPoolClient, shards: list[Shard]
) -> None:
    shards[1].dead = True
    with pytest.raises(Overloaded):
        await client.delete("t", key(0).digest, 6)


async def test_a_quota_is_shared_out_among_the_shards(
    client: EmbeddingPoolClient, shards: list[Shard]
) -> None:
    await ensure(client, key(0), quota=300)
    assert homes(shards, key(0))[0].pool.directory.quotas == {"t": 100}


async def test_errors_of_encoding_are_raised_and_a_busy_shard_is_an_overload(
    client: EmbeddingPoolClient, shards: list[Shard]
) -> None:
    for shard in shards:
        shard.error = RuntimeError("broken")
    with pytest.raises(RuntimeError, match="broken"):
        await ensure(client, key(0))
    for shard in shards:
        shard.error = PoolBusy()
    with pytest.raises(Overloaded):
        await ensure(client, key(0))


async def test_a_store_that_is_away_is_told(client: EmbeddingPoolClient, shards: list[Shard]) -> None:
    for shard in shards:
        shard.store.away = True
    with pytest.raises(StoreAway):
        await client.lookup(key(0))
