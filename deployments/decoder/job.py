"""How a decoder works off one job: confirm what its id names, find the features, prompt the model. No torch
here."""

import asyncio
from dataclasses import dataclass
from typing import Any, Protocol

from deployments.decoder.features import FeatureLoader, Found, HotImage
from deployments.keys import ImageKey
from deployments.messages import Answered, Expired, NeedImage, PromptJob, Reply
from deployments.pool.names import Names
from deployments.protocol import DeadlineExceeded, PromptRequest
from deployments.results import dump_results


class Resolver(Protocol):
    """What knows which image an id names."""

    async def resolve(self, tenant: str, image_id: str, digest: str | None, received: float) -> str | None:
        """The digest that an id names; with `digest`, the id is bound to it first."""
        ...


class Prompter(Protocol):
    """What asks the model."""

    async def answer(
        self,
        key: ImageKey,
        image: HotImage,
        request: PromptRequest[Any],
        deadline: float | None,
    ) -> tuple[bytes, dict[str, float]]:
        """What `load_results` reads, and seconds by stage. Raises DeadlineExceeded."""
        ...

    def forget(self, key: ImageKey) -> None:
        """Drop what is kept of an image's prompts."""
        ...


@dataclass(frozen=True, slots=True)
class JobRunner:
    """One decoder's jobs. `model` and `image_size`: what keys and squares are made for."""

    model: str
    image_size: int
    pool: Resolver
    names: Names
    """What this replica believes that ids name."""
    loader: FeatureLoader
    prompter: Prompter

    async def run(self, job: PromptJob) -> Reply:
        """Answer a job, or say that the image is needed.

        What the id names is confirmed for every request, by the pool or by a lease of it, while the model already works
        on what this replica believes it to be: bytes sent under an old id through another replica are seen by the very
        next request here. A request that brings its image is about that image; its id is bound once.
        """
        confirmed = asyncio.ensure_future(self._confirm(job))
        try:
            believed = job.digest or self.names.resolve(job.tenant, job.image_id)
            if believed and (found := self.loader.hot(self._key(job, believed))):
                answered = await self._answer(self._key(job, believed), found, job)
                if await confirmed == believed:
                    return answered
            if job.digest is None:
                return await self._find_and_answer(job, await confirmed)
            reply = await self._find_and_answer(job, job.digest)
            await confirmed
            return reply
        except DeadlineExceeded:
            return Expired()
        finally:
            if not confirmed.cancel() and not confirmed.cancelled():
                confirmed.exception()  # when the model failed first, nobody else looks at it

    async def _confirm(self, job: PromptJob) -> str | None:
        if job.bound:
            return job.digest
        return await self.pool.resolve(job.tenant, job.image_id, job.digest, job.received)

    def forget(self, tenant: str, digest: str) -> bool:
        """Drop an image, what is kept of its prompts, and its ids. Whether it was here."""
        keys = self.loader.forget(tenant, digest)
        self.prompter.forget(ImageKey(tenant, self.model, digest))
        self.names.forget_image(tenant, digest)
        return bool(keys)

    async def _find_and_answer(self, job: PromptJob, digest: str | None) -> Reply:
        if digest is None:
            return self._need_image()
        self.names.bind(job.tenant, job.image_id, digest)
        key = self._key(job, digest)
        warm = job.warm if digest == job.digest else None
        found = await self.loader.load(key, warm, job.deadline, job.received)
        return await self._answer(key, found, job) if found else self._need_image()

    async def _answer(self, key: ImageKey, found: Found, job: PromptJob) -> Answered:
        image = found.image
        transfer = {"transfer": found.transfer_s}
        if job.request is None:
            return Answered(image.size, dump_results([]), found.tier, transfer)
        data, stages = await self.prompter.answer(key, image, job.request, job.deadline)
        if self.loader.deleted(key, job.received):
            self.prompter.forget(key)
        else:
            self.loader.weigh_again(key, image)
        return Answered(image.size, data, found.tier, {**transfer, **stages})

    def _key(self, job: PromptJob, digest: str) -> ImageKey:
        return ImageKey(job.tenant, self.model, digest)

    def _need_image(self) -> NeedImage:
        return NeedImage(self.model, self.image_size)
