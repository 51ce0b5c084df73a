"""The service behind the HTTP layer. It calls decoders, pool and store through their protocols: no torch, no Ray."""

import asyncio
import time
from collections.abc import Awaitable
from typing import Any, Literal, TypeVar

from deployments.ingress.backends import PoolClient
from deployments.ingress.decoding import ImageDecoding
from deployments.ingress.dispatch import Dispatcher
from deployments.ingress.models import Models
from deployments.ingress.naming import Naming
from deployments.ingress.uses import Uses
from deployments.keys import derived_id
from deployments.messages import Answered, StoredImage
from deployments.observe.metrics import NAMES, Metrics
from deployments.protocol import (
    Answer,
    DeadlineExceeded,
    ImageReference,
    KeptImage,
    ModelStatus,
    PromptRequest,
    Results,
    Timings,
    UnknownImage,
)
from deployments.results import load_results
from deployments.store.protocol import Store

T = TypeVar("T")

LARGE = 256 * 1024
"""Results of more bytes than this are unpacked in a thread."""


class SegmentationService:
    """`deployments.protocol.Segmenter`."""

    def __init__(
        self,
        models: Models,
        pool: PoolClient,
        store: Store,
        metrics: Metrics,
        decoding: ImageDecoding,
        idle_ttl_s: float,
    ) -> None:
        """idle_ttl_s: seconds that the store keeps an image that nobody asks for."""
        self._models = models
        self._pool = pool
        self._store = store
        self._metrics = metrics
        self._executor = decoding.threads
        naming, uses = Naming(store), Uses(store, idle_ttl_s)
        self._dispatchers: dict[str | None, Dispatcher] = {
            name: Dispatcher(decoder, pool, store, naming, uses, decoding, models.sources.get(name))
            for name, decoder in models.decoders.items()
        }
        self._dispatchers[None] = self._dispatchers[models.default]

    async def answer(
        self,
        image: ImageReference,
        request: PromptRequest[Results] | None,
        timings: Timings,
        model: str | None = None,
    ) -> Answer[Results]:
        """A model's answer about an image. `request` None only encodes the image, for later requests."""
        try:
            work = self._dispatchers[model].answer(image, request, timings)
            image_id, answered = await _before(timings.deadline, work)
        finally:
            for stage, seconds in timings.stages.items():
                self._metrics.observe(NAMES.stage_seconds, seconds, stage=stage)
        name = self._models.default if model is None else model
        self._metrics.add(NAMES.cache_lookups, tier=timings.cache or "miss", model=name)
        return Answer(image_id, answered.size, await self._results(answered))

    async def images(self, tenant: str) -> list[KeptImage]:
        """The tenant's images, newest first. An image with several ids appears once for each id."""
        decoders = self._models.decoders.values()
        stored, held, warm = await asyncio.gather(
            self._store.images(tenant),
            asyncio.gather(*(decoder.hot_images(tenant) for decoder in decoders)),
            self._pool.embeddings(tenant),
        )
        hot = {digest for of_model in held for digest in of_model}
        return [
            _kept(image_id, image, hot, warm.get(image.digest, 0))
            for image in stored
            for image_id in image.ids or (derived_id(image.digest),)
        ]

    async def delete(self, tenant: str, image_id: str) -> None:
        """Delete the image that an id names, in every process and under all of its ids. Raises UnknownImage.

        The store deletes first: from then on nothing is made of the image's file. Then the pool forgets its embedding,
        and last the decoders, so that none of them can fetch it again.
        """
        deletion = await self._store.delete(tenant, image_id)
        if deletion is None:
            raise UnknownImage(image_id)
        in_pool = await self._pool.delete(tenant, deletion.digest, deletion.stamp)
        told = [
            decoder.forget(tenant, deletion.digest, deletion.stamp)
            for decoder in self._models.decoders.values()
        ]
        in_decoders = await asyncio.gather(*told)
        if not (deletion.found or in_pool or any(in_decoders)):
            raise UnknownImage(image_id)

    async def ready(self) -> bool:
        """True if the service can answer requests for the models that are needed now."""
        needed = [self._models.decoders[name].ready() for name in self._models.needed]
        return all(await asyncio.gather(*needed))

    def models(self) -> dict[str, ModelStatus]:
        """The state of each model by name."""
        return {name: decoder.status() for name, decoder in self._models.decoders.items()}

    async def store_answers(self) -> bool:
        """True if the store's server answers."""
        return await self._store.answers()

    async def _results(self, answered: Answered) -> Any:
        data = answered.results
        if len(data) > LARGE:
            return await asyncio.get_running_loop().run_in_executor(self._executor, load_results, data)
        return load_results(data)


def _kept(image_id: str, image: StoredImage, hot: set[str], embedding_bytes: int) -> KeptImage:
    tier: Literal["hot", "warm", "cold"] = "warm" if embedding_bytes else "cold"
    return KeptImage(
        image_id=image_id,
        size=image.size,
        source_bytes=image.source_bytes,
        embedding_bytes=embedding_bytes,
        tier="hot" if image.digest in hot else tier,
        age_s=image.age_s,
        digest=image.digest,
    )


async def _before(deadline: float | None, work: Awaitable[T]) -> T:
    """Await work until the deadline (`time.time()`), then cancel it and raise DeadlineExceeded."""
    if deadline is None:
        return await work
    try:
        async with asyncio.timeout(deadline - time.time()):
            return await work
    except TimeoutError:
        raise DeadlineExceeded from None
