"""Dispatches a request between decoder, pool and store. No torch, no Ray.

An image that this process has met goes to the decoder by its digest alone. When the decoder replies NeedImage, or when
this process meets an image that a request brings, the image is read, decoded and resized off the event loop. The store
keeps its file while the pool has it encoded. Then the decoder gets the request with the embedding's reference.
docs/retries.md sets these retries beside all others.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from cachetools import LRUCache

from deployments.config import ModelName
from deployments.ingress.backends import DecoderClient, PoolClient
from deployments.ingress.decoding import ImageDecoding
from deployments.ingress.naming import Naming, chosen, id_of, leave
from deployments.ingress.uses import Uses
from deployments.keys import derived_id
from deployments.messages import Answered, Expired, NeedImage, OtherModel, PromptJob
from deployments.observe import tracing
from deployments.protocol import (
    DeadlineExceeded,
    ImageFile,
    ImageReference,
    Overloaded,
    PromptRequest,
    Timings,
    UnknownImage,
)
from deployments.store.protocol import NewImage, Store

ATTEMPTS = 3
"""Most times that an image is encoded because its embedding was lost between the pool and the decoder."""
MOST_MET = 100_000
UPDATE_PAUSES_S = (0.05, 0.1, 0.2, 0.4, 0.8, *(1.6,) * 36)
"""Pauses between attempts to find a decoder and an encoder with the same model, while an update replaces them. Serve
replaces encoders and decoders independently: one of them may lag for as long as a replica takes to load its model."""
WORK = {"transfer", "prompt", "post"}
"""The decoder's stages that work on the request; in the rest of the decoder's time, the request waits."""


Encode = Callable[[PromptJob, NeedImage], Awaitable[PromptJob]]


class _NeedsImage(Exception):
    """Neither decoder nor pool has the image, and the request did not bring it."""


@dataclass(slots=True)
class Dispatcher:
    """Sends each request to a decoder that can answer it."""

    decoder: DecoderClient
    pool: PoolClient
    store: Store
    naming: Naming
    uses: Uses
    decoding: ImageDecoding
    model: ModelName | None = None
    """The model that its decoders are to answer for; None: any."""
    _met: LRUCache[tuple[str, str], bool] = field(init=False, default_factory=lambda: LRUCache(MOST_MET))
    """Images, by tenant and digest, that some decoder has answered for."""
    _need: NeedImage | None = field(init=False, default=None)
    """The form of a new image that a decoder last asked for."""

    async def answer(
        self, image: ImageReference, request: PromptRequest[Any] | None, timings: Timings
    ) -> tuple[str, Answered]:
        """The image's id and the decoder's answer. `request` None only encodes the image.

        Raises UnknownImage, OtherContent, Overloaded, DeadlineExceeded, and the errors of `ImageFile.content`.
        """
        if image.source is not None:
            return await self._sent(image, image.source, request, timings)
        if not image.image_id:
            raise ValueError("an image reference needs an image, an id, or both")

        async def ask(digest: str) -> Answered:
            answered, _ = await self._ask(self._job(image, digest, request, timings), timings, None)
            return answered

        try:
            return image.image_id, await self.naming.known(image.tenant, image.image_id, ask)
        except _NeedsImage:
            raise UnknownImage(image.image_id) from None

    async def _sent(
        self, image: ImageReference, source: ImageFile, request: PromptRequest[Any] | None, timings: Timings
    ) -> tuple[str, Answered]:
        """A request that brings its image: it is answered when the store says that a chosen id names this image."""
        digest = await source.content_digest()
        id_of(image, digest)
        name = chosen(image)
        binding = asyncio.ensure_future(self.store.bind(image.tenant, name, digest)) if name else None

        async def encode(job: PromptJob, need: NeedImage) -> PromptJob:
            if binding is not None:
                await binding  # before what comes next, which may bind the id to newer bytes of a URL
            return await self._encode(image, source, job, need, timings)

        try:
            answered, job = await self._ask(self._job(image, digest, request, timings), timings, encode)
            if name and job.warm is None and binding is not None and not await binding:
                content = await source.content()  # a decoder has the image, and the store does not know it
                if await source.content_digest() != digest:  # a URL has changed since its id was last known
                    return await self._sent(image, source, request, timings)
                await self.store.put(
                    NewImage(image.tenant, digest, content, answered.size, name, image.quota)
                )
        finally:
            leave(binding)
        if name:
            self.naming.believe(image.tenant, name, job.digest)
        return image.image_id or derived_id(job.digest), answered

    def _job(
        self, image: ImageReference, digest: str, request: PromptRequest[Any] | None, timings: Timings
    ) -> PromptJob:
        traceparent = tracing.traceparent()
        return PromptJob(
            image.tenant, digest, request, timings.deadline, model=self.model, traceparent=traceparent
        )

    async def _ask(
        self, job: PromptJob, timings: Timings, encode: Encode | None
    ) -> tuple[Answered, PromptJob]:
        """The decoder's answer, and the job that got it. encode: for an image that has to be encoded first. Raises
        _NeedsImage where there is none."""
        pauses, lost = iter(UPDATE_PAUSES_S), 0
        while lost < ATTEMPTS:
            try:
                if encode and self._need and job.warm is None and (job.tenant, job.digest) not in self._met:
                    job = await encode(job, self._need)
                with _waiting(timings):
                    reply = await self.decoder.run(job)
                match reply:
                    case Answered():
                        timings.cache = timings.cache or reply.cache
                        timings.add(reply.stages)
                        timings.waited_s -= sum(map(reply.stages.__getitem__, WORK & reply.stages.keys()))
                        self.uses.note(job.tenant, job.digest)
                        self._met[job.tenant, job.digest] = True
                        return reply, job
                    case Expired():
                        raise DeadlineExceeded
                    case NeedImage():
                        if encode is None:
                            raise _NeedsImage
                        self._need = reply
                        job = await encode(job, reply)
                        lost += 1  # counts only if the decoder needs the image again
            except OtherModel:
                self._need = None
                if (pause := next(pauses, None)) is None:
                    raise Overloaded from None
                with _waiting(timings):
                    await asyncio.sleep(pause)
                job = replace(job, elsewhere=job.elsewhere + 1)
            except DeadlineExceeded:
                # This request may have joined another request's encode, whose deadline has passed.
                if timings.deadline is not None and timings.deadline <= time.time():
                    raise
                lost += 1
        raise Overloaded  # the object store loses embeddings as fast as they are made

    async def _encode(
        self, image: ImageReference, source: ImageFile, job: PromptJob, need: NeedImage, timings: Timings
    ) -> PromptJob:
        """Read, decode and resize the image, keep its file, and have it encoded. Returns the job with the embedding's
        reference."""
        content = await source.content()
        digest = await source.content_digest()  # a URL may have changed since its id was last known
        id_of(image, digest)
        started = time.monotonic()
        with tracing.span("decode"):
            decoded = await self.decoding.decode(content, need.image_size)
        timings.add({"decode": time.monotonic() - started})
        with _waiting(timings):
            new = NewImage(image.tenant, digest, content, decoded.size, chosen(image), image.quota)
            key, earliest = need.key(image.tenant, digest), await self.store.earliest()
            _, ensured = await asyncio.gather(
                self.store.put(new),
                self.pool.ensure(key, decoded.square, decoded.size, earliest, job.deadline, image.quota),
            )
        timings.cache = ensured.tier
        timings.add({"encode": ensured.encode_s})
        return replace(job, digest=digest, warm=ensured.warm)


@contextmanager
def _waiting(timings: Timings) -> Iterator[None]:
    started = time.monotonic()
    try:
        yield
    finally:
        timings.waited_s += time.monotonic() - started
