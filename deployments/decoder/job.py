"""A decoder's way from a job to its answer: find the features, prompt the model. No torch here."""

from dataclasses import dataclass
from typing import Any, Protocol

from deployments.config import ENCODER, ModelName
from deployments.decoder.features import FeatureLoader, HotImage
from deployments.keys import ImageKey, are_others
from deployments.messages import Answered, Expired, NeedImage, OtherModel, PromptJob, Reply
from deployments.protocol import DeadlineExceeded, PromptRequest
from deployments.results import dump_results


class Prompter(Protocol):
    """The model's thread as a job sees it: it answers prompts about a hot image."""

    async def answer(
        self,
        key: ImageKey,
        image: HotImage,
        request: PromptRequest[Any],
        deadline: float | None,
    ) -> tuple[bytes, dict[str, float]]:
        """The results as bytes that `load_results` reads, and seconds by stage. Raises DeadlineExceeded."""
        ...

    def forget(self, key: ImageKey) -> None:
        """Drop all data kept of an image's prompts."""
        ...


@dataclass(frozen=True, slots=True)
class JobRunner:
    """One decoder's jobs. `model` and `image_size`: the model of the keys, the side of the squares in pixels.
    `encoder`: the deployment that encodes. `name`: the model that it answers for; None: any."""

    model: str
    image_size: int
    loader: FeatureLoader
    prompter: Prompter
    encoder: str = ENCODER
    name: ModelName | None = None

    async def run(self, job: PromptJob) -> Reply:
        """Answer a job, or say that the image is needed. Raises StoreAway, OtherModel."""
        if job.model != self.name and are_others(job.model, self.name):
            raise OtherModel
        try:
            key = ImageKey(job.tenant, self.model, job.digest, self.encoder)
            found = await self.loader.load(key, job.warm, job.deadline)
            if found is None:
                return NeedImage(self.model, self.image_size, self.encoder)
            image, transfer = found.image, {"transfer": found.transfer_s}
            if job.request is None:
                return Answered(image.size, dump_results([]), found.tier, transfer)
            data, stages = await self.prompter.answer(key, image, job.request, job.deadline)
        except DeadlineExceeded:
            return Expired()
        if self.loader.deleted(key, image):
            self.prompter.forget(key)
        else:
            self.loader.weigh_again(key, image)
        return Answered(image.size, data, found.tier, {**transfer, **stages})

    def forget(self, tenant: str, digest: str, stamp: int) -> bool:
        """Drop an image and its prompts' logits. Returns True if it was here. stamp: of the deletion."""
        keys = self.loader.forget(tenant, digest, stamp)
        self.prompter.forget(ImageKey(tenant, self.model, digest))
        return bool(keys)
