import asyncio
import gc
import time
from dataclasses import replace
from typing import Any

import pytest

from deployments.config import Budget
from deployments.keys import ImageKey, content_digest, derived_id
from deployments.messages import ImageCopy, PixelsLost, Source, Square, Warm
from deployments.observe.metrics import LocalMetrics
from deployments.pool.embedding_pool import EmbeddingPool, PoolBusy
from sam3_engine.types import ImageSize

SIZE = ImageSize(30, 40)
MODEL = "m"
SQUARE = Square(["pixels"], model=MODEL, size=SIZE)
KEY = ImageKey("t", MODEL, "digest")
NOW = time.time()


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
def metrics() -> LocalMetrics:
    return LocalMetrics()


@pytest.fixture
def pool(encoder: Encoder, metrics: LocalMetrics) -> EmbeddingPool:
    return EmbeddingPool(encoder, Budget(100, 100, 60), metrics)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_fifty_callers_make_one_encode(
    pool: EmbeddingPool, encoder: Encoder, metrics: LocalMetrics
) -> None:
    calls = [asyncio.create_task(pool.ensure(KEY, SQUARE, b"file")) for _ in range(50)]
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
    calls = [asyncio.create_task(pool.ensure(KEY, SQUARE, None)) for _ in range(50)]
    await settle()
    encoder.go.set()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(answer, RuntimeError) for answer in answers)
    assert len(encoder.images) == 1
    assert (await pool.ensure(KEY, SQUARE, None)).tier == "miss"
    assert len(encoder.images) == 2


async def test_an_encode_whose_pixels_died_with_their_ingress_goes_on_from_the_source(
    pool: EmbeddingPool, encoder: Encoder
) -> None:
    encoder.errors = [PixelsLost()]
    calls = [asyncio.create_task(pool.ensure(KEY, SQUARE, b"file")) for _ in range(2)]
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
        await pool.ensure(KEY, SQUARE, None)
    assert (await pool.ensure(KEY, SQUARE, None)).tier == "miss"


async def test_an_encode_that_everybody_has_left_is_cancelled_and_poisons_nothing(
    pool: EmbeddingPool, encoder: Encoder
) -> None:
    calls = [asyncio.create_task(pool.ensure(KEY, SQUARE, None)) for _ in range(3)]
    await settle()
    for call in calls:
        call.cancel()
    await settle()
    assert encoder.cancelled == 1
    gc.collect()  # an exception that nobody looked at would be reported now
    encoder.go.set()
    assert (await pool.ensure(KEY, SQUARE, None)).tier == "miss"


async def test_a_caller_that_comes_as_the_last_one_leaves_gets_its_own_encode(
    pool: EmbeddingPool, encoder: Encoder
) -> None:
    first = asyncio.create_task(pool.ensure(KEY, SQUARE, b"file"))
    await settle()
    first.cancel()
    await asyncio.sleep(0)  # the caller has gone, the encode has not noticed yet
    second = asyncio.create_task(pool.lookup(KEY))
    await settle()
    encoder.go.set()
    found = await second
    assert found is not None
    assert found[0].reference == ["ref-2"]


async def test_an_image_is_encoded_for_another_model_from_its_source(
    pool: EmbeddingPool, encoder: Encoder
) -> None:
    encoder.go.set()
    await pool.ensure(KEY, SQUARE, b"file", NOW)
    newer = replace(KEY, model="newer")
    found = await pool.lookup(newer, deadline=12.5)
    assert encoder.images[-1] == Source(b"file", model="newer", size=SIZE, deadline=12.5)
    assert found is not None
    assert found[0].reference == ["ref-2"]
    assert found[1] == "cold"
    again = await pool.lookup(newer)
    assert again is not None
    assert again[1] == "warm"
    assert (
        await pool.ensure(KEY, SQUARE, b"file", NOW)
    ).tier == "warm"  # of the older one, which may still serve
    pool.delete(KEY.tenant, KEY.digest, NOW + 1)
    assert await pool.lookup(newer) is None


async def test_another_model_without_a_source_does_not_help(pool: EmbeddingPool, encoder: Encoder) -> None:
    encoder.go.set()
    await pool.ensure(KEY, SQUARE, None)
    assert await pool.lookup(replace(KEY, model="newer")) is None
    assert await pool.lookup(replace(KEY, tenant="other")) is None


async def test_the_deadline_travels_with_the_source(pool: EmbeddingPool, encoder: Encoder) -> None:
    encoder.go.set()
    ensured = await pool.ensure(KEY, SQUARE, b"file")
    pool.lost(KEY, ensured.warm.generation)
    await pool.lookup(KEY, deadline=12.5)
    assert encoder.images[-1] == Source(b"file", model=MODEL, size=SIZE, deadline=12.5)


async def test_one_who_leaves_does_not_cancel_the_encode_of_the_others(
    pool: EmbeddingPool, encoder: Encoder
) -> None:
    first = asyncio.create_task(pool.ensure(KEY, SQUARE, None))
    second = asyncio.create_task(pool.ensure(KEY, SQUARE, None))
    await settle()
    first.cancel()
    await settle()
    encoder.go.set()
    assert (await second).warm.reference == ["ref-1"]
    assert first.cancelled()


async def test_a_known_image_is_not_encoded_again(pool: EmbeddingPool, encoder: Encoder) -> None:
    encoder.go.set()
    await pool.ensure(KEY, SQUARE, None)
    again = await pool.ensure(KEY, SQUARE, None)
    assert again.tier == "warm"
    assert await pool.lookup(KEY) == (again.warm, "warm")
    assert len(encoder.images) == 1


async def test_a_lookup_of_an_unknown_image_finds_nothing(pool: EmbeddingPool) -> None:
    assert await pool.lookup(KEY) is None


async def test_a_lookup_joins_a_running_encode(pool: EmbeddingPool, encoder: Encoder) -> None:
    call = asyncio.create_task(pool.ensure(KEY, SQUARE, None))
    await settle()
    lookup = asyncio.create_task(pool.lookup(KEY))
    await settle()
    encoder.go.set()
    assert await lookup == ((await call).warm, "joined")


async def test_an_evicted_image_is_made_again_from_its_source_once(
    pool: EmbeddingPool, encoder: Encoder
) -> None:
    encoder.go.set()
    for number in range(12):
        await pool.ensure(ImageKey("t", "m", str(number)), SQUARE, b"file")
    assert pool.directory.warm.used <= 100
    found = await asyncio.gather(*(pool.lookup(ImageKey("t", "m", "0")) for _ in range(10)))
    assert {answer[1] for answer in found if answer} == {"cold", "joined"}
    assert encoder.images[12:] == [Source(b"file", model=MODEL, size=SIZE)]


async def test_a_lost_embedding_is_made_again_and_its_successor_is_safe(
    pool: EmbeddingPool, encoder: Encoder
) -> None:
    encoder.go.set()
    lost = (await pool.ensure(KEY, SQUARE, b"file")).warm
    for _ in range(5):  # every reader reports it
        pool.lost(KEY, lost.generation)
    answer = await pool.lookup(KEY)
    assert answer is not None
    assert answer[1] == "cold"
    pool.lost(KEY, lost.generation)
    assert await pool.lookup(KEY) == (answer[0], "warm")
    assert len(encoder.images) == 2


async def test_a_lost_embedding_without_source_has_to_be_sent_again(
    pool: EmbeddingPool, encoder: Encoder
) -> None:
    encoder.go.set()
    warm = (await pool.ensure(KEY, SQUARE, None)).warm
    pool.lost(KEY, warm.generation)
    assert await pool.lookup(KEY) is None


async def test_tenants_share_nothing(pool: EmbeddingPool, encoder: Encoder) -> None:
    encoder.go.set()
    await pool.ensure(KEY, SQUARE, None)
    assert await pool.lookup(ImageKey("other", "m", "digest")) is None
    assert (await pool.ensure(ImageKey("other", "m", "digest"), SQUARE, None)).tier == "miss"
    assert len(encoder.images) == 2


async def test_too_many_encodes_are_refused_and_joining_one_is_not(
    encoder: Encoder, metrics: LocalMetrics
) -> None:
    pool = EmbeddingPool(encoder, Budget(100, 100, 60), metrics, max_encodes=2)
    calls = [asyncio.create_task(pool.ensure(ImageKey("t", "m", str(i)), SQUARE, None)) for i in range(3)]
    await settle()
    joining = asyncio.create_task(pool.ensure(ImageKey("t", "m", "0"), SQUARE, None))
    encoder.go.set()
    answers = await asyncio.gather(*calls, joining, return_exceptions=True)
    assert [type(answer).__name__ for answer in answers] == ["Ensured", "Ensured", "PoolBusy", "Ensured"]
    assert isinstance(answers[2], PoolBusy)
    assert (await pool.ensure(ImageKey("t", "m", "2"), SQUARE, None)).tier == "miss"


async def test_an_image_deleted_while_it_is_encoded_answers_its_callers_and_stays_deleted(
    pool: EmbeddingPool, encoder: Encoder
) -> None:
    await pool.resolve("t", "cat", "digest", received=NOW + 4)
    call = asyncio.create_task(pool.ensure(KEY, SQUARE, b"file", received=NOW + 4))
    await settle()
    assert pool.delete("t", "digest", at=NOW + 5)
    encoder.go.set()
    warm = (await call).warm
    assert isinstance(warm, Warm)
    # What the same request does next, to have its prompts answered.
    assert await pool.resolve("t", "cat", "digest", received=NOW + 4) == "digest"
    assert (await pool.ensure(KEY, SQUARE, b"file", received=NOW + 4)).tier == "miss"
    pool.lost(KEY, warm.generation)
    assert await pool.lookup(KEY) is None
    assert await pool.resolve("t", "cat", None) is None
    assert pool.images("t") == []
    assert not pool.delete("t", "digest", at=NOW + 6)


async def test_an_image_that_is_made_again_from_its_source_can_be_deleted_meanwhile(
    pool: EmbeddingPool, encoder: Encoder
) -> None:
    pool.adopt(ImageCopy(KEY, SIZE, b"file", received=NOW + 4))
    lookup = asyncio.create_task(pool.lookup(KEY))
    await settle()
    assert pool.delete("t", "digest", at=NOW + 5)
    encoder.go.set()
    assert await lookup is not None
    assert await pool.lookup(KEY) is None


async def test_an_image_that_is_sent_again_after_its_deletion_is_a_new_one(
    pool: EmbeddingPool, encoder: Encoder
) -> None:
    encoder.go.set()
    await pool.ensure(KEY, SQUARE, b"file", received=NOW + 4)
    pool.delete("t", "digest", at=NOW + 5)
    await pool.resolve("t", "cat", "digest", received=NOW + 6)
    assert (await pool.ensure(KEY, SQUARE, b"file", received=NOW + 6)).tier == "miss"
    assert await pool.lookup(KEY) is not None
    assert await pool.resolve("t", "cat", None) == "digest"


async def test_a_content_id_of_a_deleted_image_names_nothing_until_it_is_sent_again(
    pool: EmbeddingPool,
) -> None:
    digest = content_digest(b"file")
    assert await pool.resolve("t", derived_id(digest), None) == digest
    pool.delete("t", digest, at=NOW + 5)
    assert await pool.resolve("t", derived_id(digest), None) is None
    await pool.resolve("t", derived_id(digest), digest, received=NOW + 4)
    assert await pool.resolve("t", derived_id(digest), None) is None
    await pool.resolve("t", derived_id(digest), digest, received=NOW + 6)
    assert await pool.resolve("t", derived_id(digest), None) == digest


async def test_a_deletion_spares_what_was_sent_after_it_but_came_before_it(
    pool: EmbeddingPool, encoder: Encoder
) -> None:
    encoder.go.set()
    await pool.resolve("t", "cat", "digest", received=NOW + 6)
    await pool.ensure(KEY, SQUARE, b"file", received=NOW + 6)
    assert not pool.delete("t", "digest", at=NOW + 5)
    assert await pool.lookup(KEY) is not None
    assert await pool.resolve("t", "cat", None) == "digest"


async def test_a_tenants_quota_counts_for_its_own_images_only(
    encoder: Encoder, metrics: LocalMetrics
) -> None:
    pool = EmbeddingPool(encoder, Budget(1000, 1000, 60), metrics)
    encoder.go.set()
    for number in range(5):
        await pool.ensure(ImageKey("small", "m", str(number)), SQUARE, b"x" * 10, quota=25)
        await pool.ensure(ImageKey("other", "m", str(number)), SQUARE, b"x" * 10)
    await pool.ensure(ImageKey("small", "m", "5"), SQUARE, b"x" * 10)  # by somebody who knows of no quota
    held = {tenant: pool.images(tenant) for tenant in ("small", "other")}
    assert sum(image.embedding_bytes for image in held["small"]) == 20
    assert sum(image.source_bytes for image in held["small"]) == 20
    assert len(held["other"]) == 5
    assert metrics.values['sam3_evictions_total{reason="budget",tier="warm"}'] == 4


async def test_ids_are_bound_and_resolved(pool: EmbeddingPool) -> None:
    assert await pool.resolve("t", "cat", None) is None
    assert await pool.resolve("t", "cat", "one") == "one"
    assert await pool.resolve("t", "cat", None) == "one"
    assert await pool.resolve("t", "cat", "two") == "two"
    assert await pool.resolve("t", "cat", None) == "two"


async def test_sweeping_reports_bytes_and_entries(
    pool: EmbeddingPool, encoder: Encoder, metrics: LocalMetrics
) -> None:
    encoder.go.set()
    await pool.ensure(KEY, SQUARE, b"file")
    pool.sweep()
    assert metrics.values['sam3_pool_bytes{tier="warm"}'] == 10
    assert metrics.values['sam3_pool_bytes{tier="cold"}'] == 4
    assert metrics.values['sam3_pool_entries{tier="warm"}'] == 1
