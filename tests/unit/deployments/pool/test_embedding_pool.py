import asyncio
import gc
from dataclasses import replace
from typing import Any

import pytest

from deployments.config import Budget
from deployments.keys import ImageKey, content_digest, derived_id
from deployments.messages import PixelsLost, Source, Square, Warm
from deployments.observe.metrics import Metrics
from deployments.pool.embedding_pool import EmbeddingPool, PoolBusy
from deployments.protocol import StoreAway
from deployments.store.protocol import NewImage
from sam3_engine.types import ImageSize
from tests.support.memory_store import MemoryStore

SIZE = ImageSize(30, 40)
MODEL = "m"
SQUARE = Square(["pixels"], model=MODEL, size=SIZE)
KEY = ImageKey("t", MODEL, "digest")
BORN = 5


def file(name: str = "digest", tenant: str = "t") -> NewImage:
    return NewImage(tenant, name, b"file", SIZE)


class Encoder:
    """Counts calls and answers when it is told to."""

    def __init__(self) -> None:
        self.images: list[Square | Source] = []
        self.go = asyncio.Event()
        self.errors: list[Exception] = []
        self.cancelled = 0

    async def __call__(self, image: Square | Source) -> tuple[Any, int]:
        self.images.append(image)
        number = len(self.images)
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.errors:
            raise self.errors.pop(0)
        return f"ref-{number}", 10


@pytest.fixture
def encoder() -> Encoder:
    return Encoder()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def pool_of(
    encoder: Encoder, store: MemoryStore, metrics: Metrics, warm: int = 100, max_encodes: int = 256
) -> EmbeddingPool:
    """A shard that has heard of every deletion."""
    made = EmbeddingPool(encoder, store, Budget(warm, 60), metrics, max_encodes)
    made.since = 0
    return made


@pytest.fixture
def pool(encoder: Encoder, store: MemoryStore, metrics: Metrics) -> EmbeddingPool:
    return pool_of(encoder, store, metrics)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_fifty_callers_make_one_encode(pool: EmbeddingPool, encoder: Encoder, metrics: Metrics) -> None:
    calls = [asyncio.create_task(pool.ensure(KEY, SQUARE, BORN)) for _ in range(50)]
    await settle()
    encoder.go.set()
    answers = await asyncio.gather(*calls)
    assert len(encoder.images) == 1
    assert {answer.warm.reference[0] for answer in answers} == {"ref-1"}
    assert [answer.tier for answer in answers].count("miss") == 1
    assert [answer.tier for answer in answers].count("joined") == 49
    assert metrics.values['sam3_images_encoded_total{cause="new"}'] == 1


async def test_a_failure_reaches_all_who_wait_and_poisons_nothing(
    pool: EmbeddingPool, encoder: Encoder
) -> None:
    encoder.errors.append(RuntimeError("out of memory"))
    calls = [asyncio.create_task(pool.ensure(KEY, SQUARE, BORN)) for _ in range(50)]
    await settle()
    encoder.go.set()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(answer, RuntimeError) for answer in answers)
    assert len(encoder.images) == 1
    assert (await pool.ensure(KEY, SQUARE, BORN)).tier == "miss"
    assert len(encoder.images) == 2


async def test_an_encode_whose_pixels_died_with_their_ingress_goes_on_from_the_source(
    pool: EmbeddingPool, encoder: Encoder, store: MemoryStore
) -> None:
    encoder.errors = [PixelsLost()]
    born = await store.put(file())
    calls = [asyncio.create_task(pool.ensure(KEY, SQUARE, born)) for _ in range(2)]
    await settle()
    encoder.go.set()
    assert [(await call).warm.reference for call in calls] == [["ref-2"]] * 2
    assert encoder.images == [SQUARE, Source(b"file", model=MODEL, size=SIZE)]


async def test_an_encode_that_has_neither_pixels_nor_source_fails(
    pool: EmbeddingPool, encoder: Encoder
) -> None:
    encoder.errors = [PixelsLost()]
    encoder.go.set()
    with pytest.raises(PixelsLost):
        await pool.ensure(KEY, SQUARE, BORN)
    assert (await pool.ensure(KEY, SQUARE, BORN)).tier == "miss"


async def test_an_encode_that_everybody_has_left_is_cancelled_and_poisons_nothing(
    pool: EmbeddingPool, encoder: Encoder
) -> None:
    calls = [asyncio.create_task(pool.ensure(KEY, SQUARE, BORN)) for _ in range(3)]
    await settle()
    for call in calls:
        call.cancel()
    await settle()
    assert encoder.cancelled == 1
    gc.collect()  # an exception that nobody looked at would be reported now
    encoder.go.set()
    assert (await pool.ensure(KEY, SQUARE, BORN)).tier == "miss"


async def test_a_caller_that_comes_as_the_last_one_leaves_gets_its_own_encode(
    pool: EmbeddingPool, encoder: Encoder, store: MemoryStore
) -> None:
    born = await store.put(file())
    first = asyncio.create_task(pool.ensure(KEY, SQUARE, born))
    await settle()
    first.cancel()
    await asyncio.sleep(0)  # the caller has gone, the encode has not noticed yet
    second = asyncio.create_task(pool.lookup(KEY))
    await settle()
    encoder.go.set()
    found = await second
    assert found is not None
    assert found[0].reference == ["ref-2"]


async def test_an_image_is_encoded_for_another_model_from_its_file(
    pool: EmbeddingPool, encoder: Encoder, store: MemoryStore
) -> None:
    encoder.go.set()
    born = await store.put(file())
    await pool.ensure(KEY, SQUARE, born)
    newer = replace(KEY, model="newer")
    found = await pool.lookup(newer, deadline=12.5)
    assert encoder.images[-1] == Source(b"file", model="newer", size=SIZE, deadline=12.5)
    assert found == (Warm(["ref-2"], SIZE, 2, born), "cold")
    again = await pool.lookup(newer)
    assert again is not None
    assert again[1] == "warm"
    older = await pool.ensure(KEY, SQUARE, born)
    assert older.tier == "warm", "the older model may still serve"
    assert pool.delete(KEY.tenant, KEY.digest, born + 1)
    assert pool.embeddings("t") == {}


async def test_one_who_leaves_does_not_cancel_the_encode_of_the_others(
    pool: EmbeddingPool, encoder: Encoder
) -> None:
    first = asyncio.create_task(pool.ensure(KEY, SQUARE, BORN))
    second = asyncio.create_task(pool.ensure(KEY, SQUARE, BORN))
    await settle()
    first.cancel()
    await settle()
    encoder.go.set()
    assert (await second).warm.reference == ["ref-1"]
    assert first.cancelled()


async def test_a_known_image_is_not_encoded_again(pool: EmbeddingPool, encoder: Encoder) -> None:
    encoder.go.set()
    await pool.ensure(KEY, SQUARE, BORN)
    again = await pool.ensure(KEY, SQUARE, BORN)
    assert again.tier == "warm"
    assert await pool.lookup(KEY) == (again.warm, "warm")
    assert len(encoder.images) == 1


async def test_a_lookup_of_an_unknown_image_finds_nothing(pool: EmbeddingPool) -> None:
    assert await pool.lookup(KEY) is None


async def test_a_lookup_joins_a_running_encode(pool: EmbeddingPool, encoder: Encoder) -> None:
    call = asyncio.create_task(pool.ensure(KEY, SQUARE, BORN))
    await settle()
    lookup = asyncio.create_task(pool.lookup(KEY))
    await settle()
    encoder.go.set()
    assert await lookup == ((await call).warm, "joined")


async def test_an_evicted_image_is_made_again_from_its_file_once(
    pool: EmbeddingPool, encoder: Encoder, store: MemoryStore
) -> None:
    encoder.go.set()
    for number in range(12):
        born = await store.put(file(str(number)))
        await pool.ensure(ImageKey("t", "m", str(number)), SQUARE, born)
    assert pool.directory.warm.used <= 100
    store.calls.clear()
    found = await asyncio.gather(*(pool.lookup(ImageKey("t", "m", "0")) for _ in range(10)))
    assert [answer[1] for answer in found if answer].count("cold") == 1
    assert {answer[1] for answer in found if answer} == {"cold", "joined"}
    assert encoder.images[12:] == [Source(b"file", model=MODEL, size=SIZE)]
    assert store.calls == ["file"]


async def test_a_lost_embedding_is_made_again_and_its_successor_is_safe(
    pool: EmbeddingPool, encoder: Encoder, store: MemoryStore
) -> None:
    encoder.go.set()
    lost = (await pool.ensure(KEY, SQUARE, await store.put(file()))).warm
    for _ in range(5):  # every reader reports it
        pool.lost(KEY, lost.generation)
    answer = await pool.lookup(KEY)
    assert answer is not None
    assert answer[1] == "cold"
    pool.lost(KEY, lost.generation)
    assert await pool.lookup(KEY) == (answer[0], "warm")
    assert len(encoder.images) == 2


async def test_a_lost_embedding_whose_file_has_left_has_to_be_sent_again(
    pool: EmbeddingPool, encoder: Encoder
) -> None:
    encoder.go.set()
    warm = (await pool.ensure(KEY, SQUARE, BORN)).warm
    pool.lost(KEY, warm.generation)
    assert await pool.lookup(KEY) is None


async def test_while_the_store_is_away_embeddings_that_are_here_go_on(
    pool: EmbeddingPool, encoder: Encoder, store: MemoryStore
) -> None:
    encoder.go.set()
    await pool.ensure(KEY, SQUARE, await store.put(file()))
    store.away = True
    found = await pool.lookup(KEY)
    assert found is not None
    assert found[1] == "warm"
    with pytest.raises(StoreAway):
        await pool.lookup(replace(KEY, digest="other"))
    store.away = False
    assert await pool.lookup(replace(KEY, digest="other")) is None


async def test_tenants_share_nothing(pool: EmbeddingPool, encoder: Encoder) -> None:
    encoder.go.set()
    await pool.ensure(KEY, SQUARE, BORN)
    assert await pool.lookup(ImageKey("other", "m", "digest")) is None
    assert (await pool.ensure(ImageKey("other", "m", "digest"), SQUARE, BORN)).tier == "miss"
    assert len(encoder.images) == 2


async def test_too_many_encodes_are_refused_and_joining_one_is_not(
    encoder: Encoder, store: MemoryStore, metrics: Metrics
) -> None:
    pool = pool_of(encoder, store, metrics, max_encodes=2)
    calls = [asyncio.create_task(pool.ensure(ImageKey("t", "m", str(i)), SQUARE, BORN)) for i in range(3)]
    await settle()
    joining = asyncio.create_task(pool.ensure(ImageKey("t", "m", "0"), SQUARE, BORN))
    encoder.go.set()
    answers = await asyncio.gather(*calls, joining, return_exceptions=True)
    assert [type(answer).__name__ for answer in answers] == ["Ensured", "Ensured", "PoolBusy", "Ensured"]
    assert isinstance(answers[2], PoolBusy)
    assert (await pool.ensure(ImageKey("t", "m", "2"), SQUARE, BORN)).tier == "miss"


async def test_an_image_deleted_while_it_is_encoded_answers_its_callers_and_stays_deleted(
    pool: EmbeddingPool, encoder: Encoder
) -> None:
    call = asyncio.create_task(pool.ensure(KEY, SQUARE, born=5))
    await settle()
    assert pool.delete("t", "digest", 6)
    encoder.go.set()
    warm = (await call).warm
    assert isinstance(warm, Warm)
    # The same request does this next, to have its prompts answered.
    assert (await pool.ensure(KEY, SQUARE, born=5)).tier == "miss"
    assert pool.embeddings("t") == {}
    assert await pool.lookup(KEY) is None
    assert not pool.delete("t", "digest", 7)


async def test_an_image_that_is_deleted_while_its_file_is_read_stays_deleted(
    pool: EmbeddingPool, encoder: Encoder, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder.go.set()
    born = await store.put(file())
    read, go = store.file, asyncio.Event()

    async def slow(tenant: str, digest: str) -> Any:
        found = await read(tenant, digest)
        await go.wait()
        return found

    monkeypatch.setattr(store, "file", slow)
    lookup = asyncio.create_task(pool.lookup(KEY))
    await settle()
    pool.delete("t", "digest", born + 1)
    go.set()
    assert await lookup is None
    assert encoder.images == []


async def test_an_image_that_is_sent_again_after_its_deletion_is_a_new_one(
    pool: EmbeddingPool, encoder: Encoder
) -> None:
    encoder.go.set()
    await pool.ensure(KEY, SQUARE, born=5)
    pool.delete("t", "digest", 6)
    assert (await pool.ensure(KEY, SQUARE, born=7)).tier == "miss"
    assert not pool.delete("t", "digest", 6), "told once more, late"
    assert await pool.lookup(KEY) is not None


async def test_a_shard_that_may_have_missed_a_deletion_asks_the_store(
    encoder: Encoder, store: MemoryStore, metrics: Metrics
) -> None:
    encoder.go.set()
    digest = content_digest(b"file")
    key = ImageKey("t", MODEL, digest)
    born = await store.put(file(digest))
    restarted = pool_of(encoder, store, metrics)
    restarted.since = born + 10
    await restarted.ensure(key, SQUARE, born)
    assert restarted.embeddings("t") == {digest: 10}
    await store.delete("t", derived_id(digest))
    restarted = pool_of(encoder, store, metrics)
    restarted.since = born + 10
    assert (await restarted.ensure(key, SQUARE, born)).tier == "miss"
    assert restarted.embeddings("t") == {}


async def test_a_tenants_quota_counts_for_its_own_images_only(
    encoder: Encoder, store: MemoryStore, metrics: Metrics
) -> None:
    pool = pool_of(encoder, store, metrics, warm=1000)
    encoder.go.set()
    for number in range(5):
        await pool.ensure(ImageKey("small", "m", str(number)), SQUARE, BORN, quota=25)
        await pool.ensure(ImageKey("other", "m", str(number)), SQUARE, BORN)
    await pool.ensure(ImageKey("small", "m", "5"), SQUARE, BORN)  # by a caller that knows of no quota
    assert sum(pool.embeddings("small").values()) == 20
    assert len(pool.embeddings("other")) == 5
    assert metrics.values['sam3_evictions_total{reason="budget",tier="warm"}'] == 4


async def test_sweeping_reports_bytes_and_entries(
    pool: EmbeddingPool, encoder: Encoder, metrics: Metrics
) -> None:
    encoder.go.set()
    await pool.ensure(KEY, SQUARE, BORN)
    pool.sweep()
    assert metrics.values['sam3_pool_bytes{tier="warm"}'] == 10
    assert metrics.values['sam3_pool_entries{tier="warm"}'] == 1
