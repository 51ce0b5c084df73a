import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Any

import pytest
from ray.exceptions import OwnerDiedError

from deployments.decoder.features import FeatureLoader, HotImage
from deployments.decoder.hot import HotCache, Weighed
from deployments.keys import ImageKey
from deployments.messages import Warm
from deployments.protocol import CacheTier
from sam3_engine.embedding import Embedding
from sam3_engine.errors import StaleEmbedding
from sam3_engine.types import ImageSize

KEY = ImageKey("t", "m", "d")
SIZE = ImageSize(3, 4)
EMBEDDING = Embedding("m", {})


@dataclass
class Features:
    nbytes: int = 10


async def gives(value: Any) -> Any:
    if isinstance(value, Exception):
        raise value
    return value


class Reference:
    """Awaited like an ObjectRef."""

    def __init__(self, value: Any) -> None:
        self.value = value
        self.gets = 0

    def __await__(self) -> Any:
        self.gets += 1
        work: Awaitable[Any] = asyncio.sleep(60) if self.value is None else gives(self.value)
        return work.__await__()


@dataclass
class Pool:
    """Answers lookups from a list; remembers the embeddings reported lost."""

    answers: list[tuple[Warm, CacheTier] | None] = field(default_factory=list)
    reported: list[int] = field(default_factory=list)

    async def lookup(self, key: ImageKey, deadline: float | None) -> tuple[Warm, CacheTier] | None:
        return self.answers.pop(0)

    async def lost(self, key: ImageKey, generation: int) -> None:
        self.reported.append(generation)


def warm(value: Any = EMBEDDING, generation: int = 1, born: int = 5) -> Warm:
    return Warm([Reference(value)], SIZE, generation, born)


@pytest.fixture
def pool() -> Pool:
    return Pool()


@pytest.fixture
def loader(pool: Pool) -> FeatureLoader:
    async def expand(embedding: Embedding) -> Weighed:
        if embedding.version != "m":
            raise StaleEmbedding
        return Features()

    hot: HotCache[ImageKey, HotImage] = HotCache(100)
    made = FeatureLoader(pool, expand, hot, get_timeout_s=0.05)
    made.since = 0
    return made


async def test_a_warm_image_becomes_hot(loader: FeatureLoader, pool: Pool) -> None:
    pool.answers = [(warm(), "warm")]
    assert loader.hot(KEY) is None
    found = await loader.load(KEY, None)
    assert found is not None
    assert (found.tier, found.image.size) == ("warm", SIZE)
    again = await loader.load(KEY, None)
    assert again is not None
    assert again.tier == "hot"
    assert again.image is found.image


async def test_an_ensured_image_needs_no_lookup(loader: FeatureLoader) -> None:
    assert await loader.load(KEY, warm()) is not None


async def test_many_requests_share_one_transfer(loader: FeatureLoader) -> None:
    embedding = warm()
    found = await asyncio.gather(*(loader.load(KEY, embedding) for _ in range(20)))
    assert all(found)
    assert embedding.reference[0].gets == 1


async def test_an_image_that_the_pool_does_not_know(loader: FeatureLoader, pool: Pool) -> None:
    pool.answers = [None]
    assert await loader.load(KEY, None) is None


@pytest.mark.parametrize(
    "value",
    [None, OwnerDiedError("0" * 56, b"owner", "node"), Embedding("another model", {})],
    ids=["takes too long", "owner died", "stale"],
)
async def test_a_lost_embedding_is_reported_and_asked_for_again(
    loader: FeatureLoader, pool: Pool, value: Any
) -> None:
    pool.answers = [(warm(value, generation=1), "warm"), (warm(generation=2), "cold")]
    found = await loader.load(KEY, None)
    assert found is not None
    assert found.tier == "cold"
    assert pool.reported == [1]


async def test_it_gives_up_after_the_second_loss(loader: FeatureLoader, pool: Pool) -> None:
    pool.answers = [(warm(None, generation=1), "warm"), (warm(None, generation=2), "cold")]
    assert await loader.load(KEY, None) is None
    assert pool.reported == [1, 2]


async def test_one_who_leaves_does_not_cancel_the_transfer_of_the_others(loader: FeatureLoader) -> None:
    embedding = warm()
    first, second = (asyncio.create_task(loader.load(KEY, embedding)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert await second is not None


async def test_a_transfer_that_nobody_waits_for_any_more_is_not_joined(
    loader: FeatureLoader, pool: Pool
) -> None:
    only = asyncio.create_task(loader.load(KEY, warm(None)))
    await asyncio.sleep(0)
    only.cancel()
    await asyncio.wait({only})
    assert await loader.load(KEY, warm()) is not None
    assert pool.reported == []


async def test_features_that_grew_are_weighed_again(loader: FeatureLoader) -> None:
    found = await loader.load(KEY, warm())
    assert found is not None
    other = ImageKey("t", "m", "other")
    await loader.load(other, warm())
    assert isinstance(found.image.features, Features)
    found.image.features.nbytes = 95
    loader.weigh_again(KEY, found.image)
    assert loader.hot(other) is None
    assert loader.hot(KEY) is not None


async def test_an_image_that_is_deleted_on_its_way_does_not_become_hot(loader: FeatureLoader) -> None:
    loading = asyncio.create_task(loader.load(KEY, warm(born=5)))
    await asyncio.sleep(0)
    assert loader.forget("t", "d", 7) == []
    found = await loading
    assert found is not None, "the request came before the deletion"
    assert loader.deleted(KEY, found.image)
    assert loader.hot(KEY) is None


async def test_an_embedding_from_before_a_deletion_does_not_bring_its_image_back(
    loader: FeatureLoader,
) -> None:
    loader.forget("t", "d", 7)
    assert await loader.load(KEY, warm(born=5)) is not None
    assert loader.hot(KEY) is None
    assert await loader.load(KEY, warm(born=8)) is not None, "sent again"
    assert loader.hot(KEY) is not None


async def test_a_deleted_image_is_dropped(loader: FeatureLoader) -> None:
    await loader.load(KEY, warm(born=5))
    assert loader.digests("t") == ["d"]
    assert loader.forget("t", "other", 6) == []
    assert loader.forget("other", "d", 6) == []
    assert loader.forget("t", "d", 7) == [KEY]
    assert loader.digests("t") == []


async def test_a_decoder_that_may_have_missed_a_deletion_asks_the_pool(
    loader: FeatureLoader, pool: Pool
) -> None:
    loader.since = 10
    pool.answers = [None]
    assert await loader.load(KEY, warm(born=9)) is None
    assert await loader.load(KEY, warm(born=10)) is not None
