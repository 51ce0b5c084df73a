"""Several shards in one process, each with the pool's real behaviour, and deaths between them."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest

from deployments.config import Budget
from deployments.keys import ImageKey, content_digest, derived_id, shards_of
from deployments.messages import ImageCopy, NameCopy, Source, Square
from deployments.observe.metrics import LocalMetrics
from deployments.pool import replication
from deployments.pool.deletions import TenantDigest
from deployments.pool.embedding_pool import EmbeddingPool
from deployments.pool.leases import Name
from deployments.pool.replication import Handover, Replication, ShardGone
from sam3_engine.types import ImageSize

SIZE = ImageSize(30, 40)
SHARDS = 3


class Shard:
    """One process."""

    def __init__(self, ring: "Ring", number: int) -> None:
        self.encoded: list[Square | Source] = []
        self.pool = EmbeddingPool(self._encode, Budget(10**6, 10**6, 60), LocalMetrics(), copy=self._copy)
        self.replication = Replication(self.pool, number, SHARDS, lambda other: Link(ring, other))

    async def _encode(self, image: Square | Source) -> tuple[Any, int]:
        self.encoded.append(image)
        return "ref", 10

    async def _copy(self, copy: NameCopy | ImageCopy) -> None:
        await self.replication.send(copy)

    async def lookup(self, key: ImageKey) -> Any:
        await self.replication.fetch(key)
        return await self.pool.lookup(key)


class Link:
    """A shard as another one calls it."""

    def __init__(self, ring: "Ring", shard: int) -> None:
        self._ring = ring
        self._shard = shard

    @property
    def _there(self) -> Shard:
        found = self._ring.shards[self._shard]
        if found is None:
            raise ShardGone
        return found

    async def adopt(self, copy: NameCopy | ImageCopy) -> None:
        await self._ring.hold.wait()
        self._there.pool.adopt(copy)

    async def handover(self, shard: int) -> Handover:
        return self._there.replication.handover(shard)

    async def copy_of(self, key: ImageKey) -> ImageCopy | None:
        self._ring.fetched.append(key)
        found = self._there.replication.copy_of(key)
        await asyncio.sleep(0)
        await self._ring.hold.wait()
        return found

    async def used(self, names: list[Name], images: list[TenantDigest]) -> None:
        self._there.replication.take_use(names, images)


class Ring:
    """The shards; None for one that is dead. `hold`: cleared, copies stay on their way."""

    def __init__(self) -> None:
        self.hold = asyncio.Event()
        self.hold.set()
        self.fetched: list[ImageKey] = []
        """Sources that shards asked each other for."""
        self.shards: list[Shard | None] = [Shard(self, number) for number in range(SHARDS)]

    def __getitem__(self, number: int) -> Shard:
        found = self.shards[number]
        assert found is not None
        return found

    def kill(self, number: int) -> None:
        self.shards[number] = None

    async def restart(self, number: int) -> Shard:
        new = self.shards[number] = Shard(self, number)
        await new.replication.recover()
        return new

    def shards_of(self, key: ImageKey) -> tuple[int, int]:
        home, other = shards_of(key.tenant, key.digest, SHARDS)
        return home, other

    async def delete(self, key: ImageKey, at: float) -> None:
        for shard in self.shards:
            if shard:
                shard.pool.delete(key.tenant, key.digest, at)


@pytest.fixture
def ring(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ring]:
    monkeypatch.setattr(replication, "COPY_S", 0.05)
    return Ring()  # type: ignore[return-value]


def key(number: int = 0) -> ImageKey:
    return ImageKey("t", "m", content_digest(str(number).encode()))


async def embed(ring: Ring, image: ImageKey, received: float | None = None) -> tuple[int, int]:
    """Have an image encoded by its home. Its shards."""
    home, other = ring.shards_of(image)
    received = time.time() if received is None else received
    await ring[home].pool.ensure(
        image, Square(["pixels"], model="m", size=SIZE), image.digest.encode(), received
    )
    return home, other


async def until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0)


async def test_a_new_image_is_on_two_shards_when_it_is_answered(ring: Ring) -> None:
    home, other = await embed(ring, key())
    found = ring[other].replication.copy_of(key())
    assert found is not None
    assert found.source == key().digest.encode()
    (third,) = {0, 1, 2} - {home, other}
    assert ring[third].replication.copy_of(key()) is None


async def test_the_shard_with_the_copy_encodes_when_the_home_is_dead(ring: Ring) -> None:
    home, other = await embed(ring, key())
    ring.kill(home)
    answer = await ring[other].lookup(key())
    assert answer is not None
    assert answer[1] == "cold"
    assert ring[other].encoded == [Source(key().digest.encode(), model="m", size=SIZE)]


async def test_a_restarted_shard_has_its_own_images_and_those_of_its_neighbour_again(ring: Ring) -> None:
    images = [key(number) for number in range(30)]
    for image in images:
        await embed(ring, image)
    for number in range(SHARDS):
        await ring.restart(number)
        await until(lambda number=number: ring[number].replication.idle)
    for image in images:
        for shard in ring.shards_of(image):
            assert ring[shard].replication.copy_of(image) is not None


async def test_ids_outlive_each_shard_in_turn(ring: Ring) -> None:
    for number in range(20):
        home, _ = shards_of("t", f"pet-{number}", SHARDS)
        await ring[home].pool.resolve("t", f"pet-{number}", f"digest-{number}", time.time())
    for number in range(SHARDS):
        await ring.restart(number)
    for number in range(20):
        for shard in shards_of("t", f"pet-{number}", SHARDS):
            assert await ring[shard].pool.resolve("t", f"pet-{number}", None) == f"digest-{number}"


async def test_an_image_that_is_asked_for_first_is_fetched_first(ring: Ring) -> None:
    images = [key(number) for number in range(20)]
    for image in images:
        await embed(ring, image)
    asked = next(image for image in images if ring.shards_of(image)[0] == 0)
    ring.hold.clear()
    restarted = await ring.restart(0)
    lookup = asyncio.create_task(restarted.lookup(asked))
    await until(lambda: asked in ring.fetched)
    assert len(ring.fetched) <= 2, "the asked one, and the one that was under way"
    ring.hold.set()
    answer = await lookup
    assert answer is not None
    assert answer[1] == "cold"


async def test_a_neighbour_that_is_dead_or_silent_is_not_waited_for_twice(ring: Ring) -> None:
    home, other = ring.shards_of(key())
    ring.kill(other)
    await embed(ring, key())
    assert await ring[home].lookup(key()) is not None
    await ring.restart(other)
    ring.hold.clear()
    same_home = [one for one in map(key, range(50)) if ring.shards_of(one) == (home, other)]
    started = time.monotonic()
    for image in same_home:
        await embed(ring, image)
    assert time.monotonic() - started < replication.COPY_S * len(same_home)
    ring.hold.set()
    await until(lambda: all(ring[other].replication.copy_of(image) for image in same_home))
    await until(lambda: not ring[home].replication.silent)


async def test_an_image_deleted_while_its_copy_is_on_its_way_stays_deleted(ring: Ring) -> None:
    ring.hold.clear()
    now = time.time()
    home, other = await embed(ring, key(), received=now)
    await ring.delete(key(), at=now + 1)
    ring.hold.set()
    await until(lambda: ring[home].replication.idle)
    assert ring[other].replication.copy_of(key()) is None
    assert ring[other].pool.images("t") == []


async def test_an_image_deleted_while_a_restarted_shard_fetches_it_stays_deleted(ring: Ring) -> None:
    now = time.time()
    home, _ = await embed(ring, key(), received=now)
    ring.hold.clear()
    await ring.restart(home)
    lookup = asyncio.create_task(ring[home].lookup(key()))
    await asyncio.sleep(0.01)
    await ring.delete(key(), at=now + 1)
    ring.hold.set()
    assert await lookup is None
    await until(lambda: ring[home].replication.idle)
    assert ring[home].pool.images("t") == []


async def test_a_shard_that_was_dead_during_a_deletion_does_not_bring_the_image_back(ring: Ring) -> None:
    now = time.time()
    home, other = await embed(ring, key(), received=now)
    await ring[home].pool.resolve("t", derived_id(key().digest), key().digest, now)
    ring.kill(home)
    await ring.delete(key(), at=now + 1)
    await ring.restart(home)
    for number in (home, other):
        assert await ring[number].lookup(key()) is None
        assert await ring[number].pool.resolve("t", derived_id(key().digest), None) is None


async def test_an_image_sent_again_after_its_deletion_is_taken_over_by_a_restarted_shard(ring: Ring) -> None:
    now = time.time()
    home, _ = await embed(ring, key(), received=now)
    await ring.delete(key(), at=now + 1)
    await embed(ring, key(), received=now + 2)
    await ring.restart(home)
    assert await ring[home].lookup(key()) is not None
    assert await ring[home].pool.resolve("t", derived_id(key().digest), None) == key().digest


async def test_an_id_that_was_bound_anew_keeps_its_new_image_whichever_copy_comes_last(ring: Ring) -> None:
    home, other = shards_of("t", "pet", SHARDS)
    ring.hold.clear()
    await ring[home].pool.resolve("t", "pet", "old", time.time())
    ring.kill(home)
    await ring[other].pool.resolve("t", "pet", "new", time.time())
    ring.hold.set()
    await until(lambda: ring[other].replication.idle)
    await ring.restart(home)
    await asyncio.sleep(0.01)
    for number in (home, other):
        assert await ring[number].pool.resolve("t", "pet", None) == "new"


async def test_what_is_used_does_not_grow_old_as_a_copy(ring: Ring) -> None:
    home, other = await embed(ring, key())
    entry = ring[other].pool.directory.peek(key())
    assert entry is not None
    before = entry.used
    for number in (home, other):  # asked for under an id, of whichever shard
        ring[number].replication.note_use("t", "pet", key().digest)
        ring[number].replication.tell_use()
    await until(lambda: entry.used > before)
    await until(lambda: ring[home].replication.idle and ring[other].replication.idle)
    told = entry.used
    ring[home].replication.tell_use()
    await until(lambda: ring[home].replication.idle)
    assert entry.used == told, "nothing is told twice"


async def test_a_single_shard_has_nobody_to_copy_to() -> None:
    pool = EmbeddingPool(lambda image: asyncio.sleep(0, ("ref", 1)), Budget(10, 10, 60), LocalMetrics())
    alone = Replication(pool, 0, 1, lambda other: pytest.fail("asked"))
    await alone.recover()
    await alone.send(ImageCopy(key(), SIZE, b"file", 0.0))
    alone.note_use("t", "pet", key().digest)
    alone.tell_use()
