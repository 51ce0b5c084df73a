"""What the HTTP layer asks of the model, answered by decoders and pool. No torch, no Ray: both are small protocols."""

import asyncio
import time
from collections.abc import Awaitable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from deployments.ingress.backends import DecoderClient, PoolClient
from deployments.ingress.dispatch import Walk
from deployments.messages import Answered, StoredImage
from deployments.observe.metrics import NAMES, Metrics
from deployments.protocol import (
    ConceptAnswer,
    ConceptRequest,
    DeadlineExceeded,
    Embedded,
    ImageReference,
    KeptImage,
    Trace,
    UnknownImage,
    VisualAnswer,
    VisualRequest,
)
from deployments.results import load_results

T = TypeVar("T")

LARGE = 256 * 1024
"""Bytes of results beyond which they are unpacked in a thread."""


@dataclass(frozen=True, slots=True)
class ServiceConfig:
    """What the ingress needs of the settings."""

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
        self._walk = Walk(decoder, pool, self._executor, config.max_image_pixels)

    async def embed(self, image: ImageReference, trace: Trace) -> Embedded:
        """Encode an image now, so that later prompts find it."""
        image_id, answered = await self._answer(image, None, trace)
        return Embedded(image_id, answered.size)

    async def concept(self, image: ImageReference, request: ConceptRequest, trace: Trace) -> ConceptAnswer:
        """Every instance of each concept."""
        image_id, answered = await self._answer(image, request, trace)
        return ConceptAnswer(image_id, answered.size, await self._results(answered))

    async def visual(self, image: ImageReference, request: VisualRequest, trace: Trace) -> VisualAnswer:
        """One mask per prompt."""
        image_id, answered = await self._answer(image, request, trace)
        return VisualAnswer(image_id, answered.size, await self._results(answered))

    async def images(self, tenant: str) -> list[KeptImage]:
        """The tenant's images, newest first; one that has several ids once for each."""
        hot, stored = await asyncio.gather(self._decoder.hot_images(tenant), self._pool.images(tenant))
        return [_kept(image_id, image, hot) for image, ids in stored for image_id in ids]

    async def delete(self, tenant: str, image_id: str) -> None:
        """Forget the image that an id names: everywhere, and under all of its ids. Raises UnknownImage.

        The pool first: afterwards no decoder can get it there, so what decoders then drop stays dropped.
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
        """Whether a request sent now would be answered."""
        return await self._decoder.ready()

    async def _answer(
        self, image: ImageReference, request: ConceptRequest | VisualRequest | None, trace: Trace
    ) -> tuple[str, Answered]:
        try:
            image_id, answered = await _before(trace.deadline, self._walk.answer(image, request, trace))
        finally:
            for stage, seconds in trace.stages.items():
                self._metrics.observe(NAMES.stage_seconds, seconds, stage=stage)
        self._metrics.add(NAMES.cache_lookups, tier=trace.cache or "miss")
        return image_id, answered

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
