"""The client with shards that live in the test's process: real pools, and deaths between the calls."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ray.exceptions import ActorUnavailableError

from deployments.config import Budget, PoolConfig
from deployments.keys import ImageKey, content_digest, derived_id, shards_of
from deployments.messages import ImageCopy, NameCopy, Named, Source, Square
from deployments.observe.metrics import LocalMetrics
from deployments.pool import client as module
from deployments.pool import failover
from deployments.pool.client import EmbeddingPoolClient
from deployments.pool.embedding_pool import EmbeddingPool, PoolBusy
from deployments.protocol import Overloaded
from sam3_engine.types import ImageSize

SHARDS = 3
SIZE = ImageSize(30, 40)
PIXELS = np.zeros((2, 2, 3), np.uint8)


class Shard:
    """One actor: `shard.lookup.remote(key)` is awaited. Its neighbours get no copies here."""

    def __init__(self) -> None:
        self.dead = False
        self.error: Exception | None = None
        self.pool = EmbeddingPool(self._encode, Budget(10**6, 10**6, 60), LocalMetrics())

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
            if name == "ids":
                tenant, digests = args
                return {digest: self.pool.names.ids_of(tenant, digest) for digest in digests}
            if name == "name_all":
                return [
                    Named(await self.pool.resolve(asked.tenant, asked.image_id, asked.digest, asked.received))
                    for asked in args[0]
                ]
            given = args[:2] if name == "lookup" else args  # the rest is for traces
            found = getattr(self.pool, name)(*given)
            return await found if asyncio.iscoroutine(found) else found

        return SimpleNamespace(remote=run)


@pytest.fixture
def shards(monkeypatch: pytest.MonkeyPatch) -> list[Shard]:
    made = [Shard() for _ in range(SHARDS)]
    monkeypatch.setattr(module, "pool_shards", lambda config: made)
    monkeypatch.setattr("ray.put", lambda value: value)
    monkeypatch.setattr(failover, "PROBE_S", 0.01)
    monkeypatch.setattr(failover, "GIVE_UP_S", 0.1)
    return made


@pytest.fixture
def client(shards: list[Shard]) -> EmbeddingPoolClient:
    return EmbeddingPoolClient(PoolConfig("app", SHARDS, Budget(1, 1, 1), 1), LocalMetrics())


def key(number: int) -> ImageKey:
    return ImageKey("t", "m", content_digest(str(number).encode()))


async def ensure(client: EmbeddingPoolClient, image: ImageKey, quota: int | None = None) -> Any:
    return await client.ensure(image, PIXELS, SIZE, b"file", None, time.time(), quota)


async def test_images_are_spread_over_the_shards_and_found_again(
    client: EmbeddingPoolClient, shards: list[Shard]
) -> None:
    for number in range(30):
        await ensure(client, key(number))
        assert await client.lookup(key(number)) is not None
    assert all(len(shard.pool.directory) > 0 for shard in shards)
    assert sum(len(shard.pool.directory) for shard in shards) == 30


async def test_a_dead_shards_calls_go_to_the_next_one(
    client: EmbeddingPoolClient, shards: list[Shard]
) -> None:
    home, other = shards_of("t", key(0).digest, SHARDS)
    shards[home].dead = True
    await ensure(client, key(0))
    assert key(0) in shards[other].pool.directory
    assert await client.ready()


async def test_images_of_all_shards_are_listed_once_with_all_their_ids(
    client: EmbeddingPoolClient, shards: list[Shard]
) -> None:
    now = time.time()
    for number in range(5):
        await ensure(client, key(number))
    for image_id in ("one", "two", "three"):
        await client.resolve("t", image_id, key(0).digest, now)
    for shard in shards:  # copies, as the shards give them to one another
        shard.pool.adopt(ImageCopy(key(0), SIZE, b"file", now))
    binding = shards[shards_of("t", "one", SHARDS)[0]].pool.names.bind("t", "other name", key(1).digest)
    assert binding is not None
    shards[0].pool.adopt(NameCopy("t", "other name", binding))
    listed = {image.digest: (image, ids) for image, ids in await client.images("t")}
    assert len(listed) == 5
    assert listed[key(0).digest][1] == ["one", "three", "two"]
    assert listed[key(1).digest][1] == ["other name"]
    assert listed[key(2).digest][1] == [derived_id(key(2).digest)]
    assert listed[key(0).digest][0].embedding_bytes == 10
    assert await client.images("other") == []


async def test_a_deletion_reaches_every_shard(client: EmbeddingPoolClient, shards: list[Shard]) -> None:
    await ensure(client, key(0))
    for shard in shards:
        shard.pool.adopt(ImageCopy(key(0), SIZE, b"file", time.time()))
    assert await client.delete("t", key(0).digest, time.time())
    assert all(len(shard.pool.directory) == 0 for shard in shards)
    assert not await client.delete("t", key(0).digest, time.time())


async def test_a_deletion_that_a_shard_does_not_confirm_is_refused(
    client: EmbeddingPoolClient, shards: list[Shard]
) -> None:
    shards[1].dead = True
    with pytest.raises(Overloaded):
        await client.delete("t", key(0).digest, time.time())


async def test_a_quota_is_shared_out_among_the_shards(
    client: EmbeddingPoolClient, shards: list[Shard]
) -> None:
    await ensure(client, key(0), quota=300)
    home = shards[shards_of("t", key(0).digest, SHARDS)[0]]
    assert home.pool.directory.quotas == {"t": 100}


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
