"""An image, a pool and decoders that live in the test's process, without Ray and without a model."""

import asyncio
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from deployments.config import Budget
from deployments.keys import ImageKey, content_digest
from deployments.messages import (
    Answered,
    Ensured,
    NeedImage,
    OtherModel,
    PromptJob,
    Reply,
    Source,
    Square,
)
from deployments.observe.metrics import Metrics
from deployments.pool.embedding_pool import EmbeddingPool
from deployments.protocol import ModelStatus
from deployments.results import dump_results
from sam3_engine.images import decode_image
from sam3_engine.types import ImageSize, Instance
from tests.support.memory_store import MemoryStore

MODEL = "fake.1"
SIDE = 16


def image_file(colour: str = "red", size: tuple[int, int] = (40, 30)) -> bytes:
    """A PNG of one colour; size is (width, height)."""
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "PNG")
    return file.getvalue()


@dataclass
class FileSource:
    """An ImageFile that counts how often it is read."""

    file: bytes
    reads: int = 0

    async def content_digest(self) -> str:
        return content_digest(self.file)

    async def content(self) -> bytes:
        self.reads += 1
        return self.file


@dataclass
class FakePool:
    """The real pool's behaviour around an encoder that gives the image's mean colour. `model`: the encoder's."""

    store: MemoryStore = field(default_factory=MemoryStore)
    encoded: list[Square | Source] = field(default_factory=list)
    metrics: Metrics = field(default_factory=Metrics)
    error: Exception | None = None
    quotas: list[int | None] = field(default_factory=list)
    model: str = MODEL

    def __post_init__(self) -> None:
        self.pool = EmbeddingPool(self._encode, self.store, Budget(10_000, 60), self.metrics)
        self.pool.since = 0

    async def _encode(self, image: Square | Source) -> tuple[Any, int]:
        if image.model != self.model:
            raise OtherModel
        self.encoded.append(image)
        if self.error:
            raise self.error
        if isinstance(image, Source):
            pixels = decode_image(image.content, max_pixels=10**6, target=SIDE).square
        else:
            pixels = image.reference[0]
        return tuple(pixels.mean(axis=(0, 1))), 10

    async def ensure(
        self,
        key: ImageKey,
        square: npt.NDArray[np.uint8],
        size: ImageSize,
        born: int,
        deadline: float | None,
        quota: int | None,
    ) -> Ensured:
        self.quotas.append(quota)
        pixels = Square([square], model=key.model, size=size, deadline=deadline)
        return await self.pool.ensure(key, pixels, born, quota)

    async def delete(self, tenant: str, digest: str, stamp: int) -> bool:
        return self.pool.delete(tenant, digest, stamp)

    async def embeddings(self, tenant: str) -> dict[str, int]:
        return self.pool.embeddings(tenant)


@dataclass
class FakeDecoders:
    """Answers with the colour that the pool holds for the image. `unsure`: answers that pretend not to know it.
    `models`: of the decoders that a job meets, one after the other. `gate`: they answer when it is set."""

    pool: FakePool
    jobs: list[PromptJob] = field(default_factory=list)
    unsure: int = 0
    models: Sequence[str] = (MODEL,)
    is_ready: bool = True
    hot: set[str] = field(default_factory=set)
    forgotten: list[str] = field(default_factory=list)
    gate: asyncio.Event | None = None

    async def run(self, job: PromptJob) -> Reply:
        self.jobs.append(job)
        if self.gate:
            await self.gate.wait()
        model = self.models[job.elsewhere % len(self.models)]
        found = await self.pool.pool.lookup(ImageKey(job.tenant, model, job.digest))
        if found is None or self.unsure:
            self.unsure = max(0, self.unsure - 1)
            return NeedImage(model, SIDE)
        warm, tier = found
        data = dump_results([Instance(1.0, (0, 0, 1, 1), 1, [[list(warm.reference[0])]])])
        return Answered(warm.size, data, tier, {"prompt": 0.5, "queue": 0.25})

    async def forget(self, tenant: str, digest: str, stamp: int) -> bool:
        self.forgotten.append(digest)
        held = digest in self.hot
        self.hot.discard(digest)
        return held

    async def hot_images(self, tenant: str) -> set[str]:
        return self.hot

    async def ready(self) -> bool:
        return self.is_ready

    def status(self) -> ModelStatus:
        return ModelStatus("ready", 1)
