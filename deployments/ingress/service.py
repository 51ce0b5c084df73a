"""The service behind the HTTP layer. It calls decoders and pool through their protocols: no torch, no Ray."""

import asyncio
import time
from collections.abc import Awaitable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from deployments.ingress.backends import DecoderClient, PoolClient
from deployments.ingress.dispatch import Dispatcher
from deployments.messages import Answered, StoredImage
from deployments.observe.metrics import NAMES, Metrics
from deployments.protocol import (
    Answer,
    DeadlineExceeded,
    ImageReference,
    KeptImage,
    PromptRequest,
    Results,
    Timings,
    UnknownImage,
)
from deployments.results import load_results

T = TypeVar("T")

LARGE = 256 * 1024
"""Results of more bytes than this are unpacked in a thread."""


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """The ingress's part of the settings."""

    max_image_pixels: int
    threads: int
    """Images decoded at once."""


class SegmentationService:
    """`deployments.protocol.Segmenter`."""

    def __init__(
        self,
        decoder: DecoderClient,
        pool: PoolClient,
        config: ServiceConfig,
        metrics: Metrics,
        executor: Executor | None = None,
    ) -> None:
        self._decoder = decoder
        self._pool = pool
        self._config = config
        self._metrics = metrics
        self._executor = executor or ThreadPoolExecutor(config.threads, thread_name_prefix="decode-image")
        self._dispatcher = Dispatcher(decoder, pool, self._executor, config.max_image_pixels)

    async def answer(
        self, image: ImageReference, request: PromptRequest[Results] | None, timings: Timings
    ) -> Answer[Results]:
        """The model's answer about an image. `request` None only encodes the image, for later requests."""
        try:
            work = self._dispatcher.answer(image, request, timings)
            image_id, answered = await _before(timings.deadline, work)
        finally:
            for stage, seconds in timings.stages.items():
                self._metrics.observe(NAMES.stage_seconds, seconds, stage=stage)
        self._metrics.add(NAMES.cache_lookups, tier=timings.cache or "miss")
        return Answer(image_id, answered.size, await self._results(answered))

    async def images(self, tenant: str) -> list[KeptImage]:
        """The tenant's images, newest first. An image with several ids appears once for each id."""
        hot, stored = await asyncio.gather(self._decoder.hot_images(tenant), self._pool.images(tenant))
        return [_kept(image_id, image, hot) for image, ids in stored for image_id in ids]

    async def delete(self, tenant: str, image_id: str) -> None:
        """Delete the image that an id names, in every process and under all of its ids. Raises UnknownImage.

        The pool deletes first. Afterwards no decoder can fetch the image again once it has dropped it.
        """
        at = time.time()
        digest = await self._pool.resolve(tenant, image_id, None, at)
        if digest is None:
            raise UnknownImage(image_id)
        in_pool = await self._pool.delete(tenant, digest, at)
        in_decoders = await self._decoder.forget(tenant, digest)
        if not (in_pool or in_decoders):
            raise UnknownImage(image_id)

    async def ready(self) -> bool:
        """Whether the service can answer requests now."""
        return await self._decoder.ready()

    async def _results(self, answered: Answered) -> Any:
        data = answered.results
        if len(data) > LARGE:
            return await asyncio.get_running_loop().run_in_executor(self._executor, load_results, data)
        return load_results(data)


def _kept(image_id: str, image: StoredImage, hot: set[str]) -> KeptImage:
    tier: Literal["hot", "warm", "cold"] = "warm" if image.embedding_bytes else "cold"
    return KeptImage(
        image_id=image_id,
        size=image.size,
        source_bytes=image.source_bytes,
        embedding_bytes=image.embedding_bytes,
        tier="hot" if image.digest in hot else tier,
        age_s=image.age_s,
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
