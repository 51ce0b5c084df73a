"""The way of a request, as the ingress walks it. No torch, no Ray: pool and decoder are two small protocols.

The decoder is asked first, with nothing but the image's name and digest; only when it does not know the image
is the image read, decoded and resized, off the event loop, and handed to the pool.
"""

import asyncio
import time
from collections.abc import Awaitable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from deployments import tracing, wire
from deployments.keys import ImageKey, derived_id
from deployments.messages import (
    Answered,
    Ensured,
    Expired,
    NeedImage,
    OtherModel,
    PromptJob,
    Reply,
    StoredImage,
)
from deployments.metrics import NAMES, Metrics
from deployments.protocol import (
    ConceptAnswer,
    ConceptRequest,
    DeadlineExceeded,
    Embedded,
    ImageReference,
    KeptImage,
    Overloaded,
    Trace,
    UnknownImage,
    VisualAnswer,
    VisualRequest,
)
from sam3_engine.images import DecodedImage, decode_image
from sam3_engine.types import ImageSize

T = TypeVar("T")

ATTEMPTS = 3
"""How often an image is sent again when its embedding is lost between the pool and the decoder."""
UPDATE_PAUSES_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Between the attempts to find a decoder and an encoder of one model, while an update replaces them."""
WORK = {"transfer", "prompt", "post"}
"""A decoder's stages in which it works on the request; the rest of its time the request waits."""
LARGE = 256 * 1024
"""Bytes of results beyond which they are unpacked in a thread."""


class DecoderClient(Protocol):
    """The decoders, seen from the ingress."""

    async def run(self, job: PromptJob) -> Reply:
        """The reply of the replica that most likely has the image hot. Raises Overloaded, OtherModel."""
        ...

    async def ready(self) -> bool:
        """Whether a decoder and an encoder would answer now."""
        ...

    async def forget(self, tenant: str, digest: str) -> bool:
        """Drop an image in every replica. Whether one had it. Raises Overloaded when not all confirm."""
        ...

    async def hot_images(self, tenant: str) -> set[str]:
        """Digests of a tenant's images that some replica has in its memory."""
        ...


class PoolClient(Protocol):
    """The embedding pool, seen from the ingress."""

    async def ensure(
        self,
        key: ImageKey,
        square: npt.NDArray[np.uint8],
        size: ImageSize,
        source: bytes,
        deadline: float | None,
        received: float,
        quota: int | None,
    ) -> Ensured:
        """Have an image encoded, once however many ask. square: uint8 [S, S, 3] RGB.

        Raises Overloaded, OtherModel, and DeadlineExceeded when the encode's turn came after the deadline of whoever
        started it.
        """
        ...

    async def resolve(self, tenant: str, image_id: str, digest: str | None, received: float) -> str | None:
        """The digest that an id names. Raises Overloaded."""
        ...

    async def delete(self, tenant: str, digest: str, at: float) -> bool:
        """Forget an image in every shard. Whether one had it. Raises Overloaded when not all confirm."""
        ...

    async def images(self, tenant: str) -> list[tuple[StoredImage, list[str]]]:
        """What is held of a tenant's images, and their ids; newest first. Raises Overloaded."""
        ...


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
            image_id, answered = await _before(trace.deadline, self._walk(image, request, trace))
        finally:
            for stage, seconds in trace.stages.items():
                self._metrics.observe(NAMES.stage_seconds, seconds, stage=stage)
        self._metrics.add(NAMES.cache_lookups, tier=trace.cache or "miss")
        return image_id, answered

    async def _walk(
        self, image: ImageReference, request: ConceptRequest | VisualRequest | None, trace: Trace
    ) -> tuple[str, Answered]:
        """Ask the decoder; where it needs the image, have it encoded and ask again."""
        received = time.time()
        digest = await image.source.content_id() if image.source else None
        image_id = _image_id(image, digest)
        job = PromptJob(
            image.tenant,
            image_id,
            digest,
            request,
            trace.deadline,
            received,
            traceparent=tracing.traceparent(),
        )
        pauses, lost = iter(UPDATE_PAUSES_S), 0
        while lost < ATTEMPTS:
            try:
                with _waiting(trace):
                    reply = await self._decoder.run(job)
                match reply:
                    case Answered():
                        trace.cache = trace.cache or reply.cache
                        _add(trace, reply.stages)
                        trace.waited_s -= sum(map(reply.stages.__getitem__, WORK & reply.stages.keys()))
                        return image_id, reply
                    case Expired():
                        raise DeadlineExceeded
                    case NeedImage() if image.source is None:
                        raise UnknownImage(image_id)
                    case NeedImage():
                        job = await self._encode(image, job, reply, trace)
                        image_id = job.image_id
                        lost += 1  # if it is asked for again
            except OtherModel:
                if (pause := next(pauses, None)) is None:
                    raise Overloaded from None
                with _waiting(trace):
                    await asyncio.sleep(pause)
                job = replace(job, elsewhere=job.elsewhere + 1)
            except DeadlineExceeded:
                # It may have been that of another request, whose encode this one had joined.
                if trace.deadline is not None and trace.deadline <= time.time():
                    raise
                lost += 1
        raise Overloaded  # the object store loses embeddings as fast as they are made

    async def _encode(
        self, image: ImageReference, job: PromptJob, need: NeedImage, trace: Trace
    ) -> PromptJob:
        """Read, decode and resize the image, and have it encoded. The job that names the result."""
        assert image.source is not None
        content = await image.source.content()
        digest = await image.source.content_id()  # a URL may have changed since its id was last known
        started = time.monotonic()
        decoded = await self._decode(content, need.image_size)
        _add(trace, {"decode": time.monotonic() - started})
        key = need.key(image.tenant, digest)
        with _waiting(trace):
            ensured = await self._pool.ensure(
                key, decoded.square, decoded.size, content, job.deadline, job.received, image.quota
            )
        trace.cache = ensured.tier
        _add(trace, {"encode": ensured.encode_s})
        return replace(
            job,
            image_id=_image_id(image, digest),
            digest=digest,
            warm=ensured.warm,
            bound=digest == job.digest,
        )

    async def _decode(self, content: bytes, target: int) -> DecodedImage:
        decode = partial(decode_image, content, max_pixels=self._config.max_image_pixels, target=target)
        with tracing.span("decode"):
            return await asyncio.get_running_loop().run_in_executor(self._executor, decode)

    async def _results(self, answered: Answered) -> Any:
        data = answered.results
        if len(data) > LARGE:
            return await asyncio.get_running_loop().run_in_executor(self._executor, wire.loads, data)
        return wire.loads(data)


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


def _image_id(image: ImageReference, digest: str | None) -> str:
    if image.image_id:
        return image.image_id
    if digest is None:
        raise ValueError("an image reference needs an image, an id, or both")
    return derived_id(digest)


@contextmanager
def _waiting(trace: Trace) -> Iterator[None]:
    started = time.monotonic()
    try:
        yield
    finally:
        trace.waited_s += time.monotonic() - started


def _add(trace: Trace, stages: dict[str, float]) -> None:
    for stage, seconds in stages.items():
        trace.stages[stage] = trace.stages.get(stage, 0.0) + seconds


async def _before(deadline: float | None, work: Awaitable[T]) -> T:
    """Await work until the deadline (`time.time()`), then cancel it and raise DeadlineExceeded."""
    if deadline is None:
        return await work
    try:
        async with asyncio.timeout(deadline - time.time()):
            return await work
    except TimeoutError:
        raise DeadlineExceeded from None
