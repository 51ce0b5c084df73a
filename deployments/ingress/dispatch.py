"""Dispatches a request between decoder and pool. No torch, no Ray.

The decoder first gets the image's id and digest alone. When it replies NeedImage, the image is read, decoded and
resized off the event loop, and the pool has it encoded. Then the decoder gets the request again.
docs/retries.md sets these retries beside all others.
"""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from deployments.ingress.backends import DecoderClient, PoolClient
from deployments.keys import derived_id
from deployments.messages import Answered, Expired, NeedImage, OtherModel, PromptJob
from deployments.observe import tracing
from deployments.protocol import (
    DeadlineExceeded,
    ImageReference,
    Overloaded,
    PromptRequest,
    Timings,
    UnknownImage,
)
from sam3_engine.images import DecodedImage, decode_image

ATTEMPTS = 3
"""Most times that an image is encoded because its embedding was lost between the pool and the decoder."""
UPDATE_PAUSES_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""Pauses between attempts to find a decoder and an encoder with the same model, while an update replaces them."""
WORK = {"transfer", "prompt", "post"}
"""The decoder's stages that work on the request; in the rest of the decoder's time, the request waits."""


@dataclass(frozen=True, slots=True)
class Dispatcher:
    """Sends each request to a decoder that can answer it. `executor`: decodes images of at most `max_image_pixels`."""

    decoder: DecoderClient
    pool: PoolClient
    executor: Executor
    max_image_pixels: int

    async def answer(
        self, image: ImageReference, request: PromptRequest[Any] | None, timings: Timings
    ) -> tuple[str, Answered]:
        """The image's id and the decoder's answer. `request` None only encodes the image.

        Raises UnknownImage, Overloaded, DeadlineExceeded, and the errors of `ImageFile.content`.
        """
        received = time.time()
        digest = await image.source.content_digest() if image.source else None
        image_id = _image_id(image, digest)
        job = PromptJob(
            image.tenant,
            image_id,
            digest,
            request,
            timings.deadline,
            received,
            traceparent=tracing.traceparent(),
        )
        pauses, lost = iter(UPDATE_PAUSES_S), 0
        while lost < ATTEMPTS:
            try:
                with _waiting(timings):
                    reply = await self.decoder.run(job)
                match reply:
                    case Answered():
                        timings.cache = timings.cache or reply.cache
                        timings.add(reply.stages)
                        timings.waited_s -= sum(map(reply.stages.__getitem__, WORK & reply.stages.keys()))
                        return image_id, reply
                    case Expired():
                        raise DeadlineExceeded
                    case NeedImage() if image.source is None:
                        raise UnknownImage(image_id)
                    case NeedImage():
                        job = await self._encode(image, job, reply, timings)
                        image_id = job.image_id
                        lost += 1  # counts only if the decoder needs the image again
            except OtherModel:
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
        self, image: ImageReference, job: PromptJob, need: NeedImage, timings: Timings
    ) -> PromptJob:
        """Read, decode and resize the image, and have it encoded. Returns the job with the embedding's reference."""
        assert image.source is not None
        content = await image.source.content()
        digest = await image.source.content_digest()  # a URL may have changed since its id was last known
        started = time.monotonic()
        decoded = await self._decode(content, need.image_size)
        timings.add({"decode": time.monotonic() - started})
        key = need.key(image.tenant, digest)
        with _waiting(timings):
            ensured = await self.pool.ensure(
                key, decoded.square, decoded.size, content, job.deadline, job.received, image.quota
            )
        timings.cache = ensured.tier
        timings.add({"encode": ensured.encode_s})
        return replace(
            job,
            image_id=_image_id(image, digest),
            digest=digest,
            warm=ensured.warm,
            bound=digest == job.digest,
        )

    async def _decode(self, content: bytes, target: int) -> DecodedImage:
        decode = partial(decode_image, content, max_pixels=self.max_image_pixels, target=target)
        with tracing.span("decode"):
            return await asyncio.get_running_loop().run_in_executor(self.executor, decode)


def _image_id(image: ImageReference, digest: str | None) -> str:
    if image.image_id:
        return image.image_id
    if digest is None:
        raise ValueError("an image reference needs an image, an id, or both")
    return derived_id(digest)


@contextmanager
def _waiting(timings: Timings) -> Iterator[None]:
    started = time.monotonic()
    try:
        yield
    finally:
        timings.waited_s += time.monotonic() - started
