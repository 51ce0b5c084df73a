"""Loads an image's features for a decoder: hot in its own memory, else warm from the pool."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from ray.exceptions import RayError

from deployments.decoder.hot import HotCache, Weighed
from deployments.keys import ImageKey
from deployments.messages import Warm
from deployments.protocol import CacheTier
from deployments.single_flight import SingleFlight
from deployments.store.deletions import Deletions
from sam3_engine.embedding import Embedding
from sam3_engine.errors import StaleEmbedding
from sam3_engine.types import ImageSize

FIND_TRIES = 2
"""Embeddings of one image that are read, where the first one was lost: docs/retries.md."""


@dataclass(slots=True)
class HotImage:
    """An image ready for prompts. `size` of the upright original. `born`: see `deployments.store.deletions`."""

    features: Weighed
    size: ImageSize
    born: int

    @property
    def nbytes(self) -> int:
        """Bytes of the features, which grow with the first concept prompt."""
        return self.features.nbytes


@dataclass(frozen=True, slots=True)
class Found:
    """An image, where it was, and the seconds that fetching it took."""

    image: HotImage
    tier: CacheTier
    transfer_s: float = 0.0


class Embeddings(Protocol):
    """The part of the embedding pool that the loader uses."""

    async def lookup(self, key: ImageKey, deadline: float | None) -> tuple[Warm, CacheTier] | None:
        """The embedding of a known image."""
        ...

    async def lost(self, key: ImageKey, generation: int) -> None:
        """Report an embedding that could not be read."""
        ...


class FeatureLoader:
    """The hot tier of one decoder, and the way into it. One transfer per image however many requests wait."""

    def __init__(
        self,
        pool: Embeddings,
        expand: Callable[[Embedding], Awaitable[Weighed]],
        hot: HotCache[ImageKey, HotImage],
        get_timeout_s: float,
    ) -> None:
        """expand: an embedding's features on the device. get_timeout_s: longest wait for the object store."""
        self._pool = pool
        self._expand = expand
        self._hot = hot
        self._get_timeout_s = get_timeout_s
        self.since = math.inf
        """The stamp of the store's clock from which this decoder hears of deletions. It asks the pool about older
        images."""
        self._deletions = Deletions()
        self._transfers: SingleFlight[HotImage | None] = SingleFlight()

    def hot(self, key: ImageKey) -> Found | None:
        """The image, if it is in this process's memory."""
        image = self._hot.get(key)
        return Found(image, "hot") if image else None

    def weigh_again(self, key: ImageKey, image: HotImage) -> None:
        """Tell the hot tier that an image's features have grown."""
        if self._hot.get(key) is image:
            self._hot.put(key, image)

    def deleted(self, key: ImageKey, image: HotImage) -> bool:
        """True if the image was deleted after it was sent, as far as this process has heard."""
        return self._deletions.cover(key.tenant, key.digest, image.born)

    def digests(self, tenant: str) -> list[str]:
        """The images of a tenant in this process's memory."""
        return [key.digest for key in self._hot if key.tenant == tenant]

    def forget(self, tenant: str, digest: str, stamp: int) -> list[ImageKey]:
        """Drop an image, and return the keys that it was held under. Work under way does not bring it back."""
        self._deletions.record(tenant, digest, stamp)
        keys = [key for key in self._hot if (key.tenant, key.digest) == (tenant, digest)]
        return [key for key in keys if self._hot.discard(key, "deleted")]

    async def load(
        self,
        key: ImageKey,
        warm: Warm | None,
        deadline: float | None = None,
    ) -> Found | None:
        """The image, hot or from `warm` or from where the pool says; None when it has to be sent.

        An embedding that cannot be read in time, or is of another model, is reported lost; the pool is then
        asked once more, as it may make it again. Raises DeadlineExceeded, StoreAway.
        """
        if found := self.hot(key):
            return found
        tier: CacheTier = "warm"
        if warm is not None and warm.born < self.since:
            warm = None
        for _ in range(FIND_TRIES):
            if warm is None:
                answer = await self._pool.lookup(key, deadline)
                if answer is None:
                    return None
                warm, tier = answer
            started = time.monotonic()
            image = await self._transfers.run(key, partial(self._transfer, key, warm))
            if image is not None:
                return Found(image, tier, time.monotonic() - started)
            await self._pool.lost(key, warm.generation)
            warm = None
        return None

    async def _transfer(self, key: ImageKey, warm: Warm) -> HotImage | None:
        try:
            async with asyncio.timeout(self._get_timeout_s):
                embedding = await warm.reference[0]
            image = HotImage(await self._expand(embedding), warm.size, warm.born)
        except (TimeoutError, RayError, StaleEmbedding):
            return None
        if not self.deleted(key, image):
            self._hot.put(key, image)
        return image
