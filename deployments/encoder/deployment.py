"""The image encoder's deployment: pixels in, compact embeddings out, in batches."""

import asyncio
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from ray.exceptions import RayError

from deployments.config import EncoderConfig
from deployments.messages import OtherModel, PixelsLost, Source, Square
from deployments.model.batcher import Batcher
from deployments.model.load import report
from deployments.model.loading import load_engine
from deployments.model.thread import Canary, ModelThread
from deployments.observe import tracing
from deployments.observe.metrics import NAMES
from deployments.observe.report import ServeMetrics
from deployments.ray.hooks import ReportsLoad
from deployments.ray.loopback import stay_on_loopback
from sam3_engine.embedding import Embedding
from sam3_engine.images import decode_image, lift_pillow_limit

if TYPE_CHECKING:
    from sam3_engine.compact import PendingEmbedding

Pixels = npt.NDArray[np.uint8]


class ImageEncoder(ReportsLoad):
    """A Serve deployment. Ready once the model is loaded and warmed up."""

    def __init__(self, config: EncoderConfig) -> None:
        stay_on_loopback()
        lift_pillow_limit()
        tracing.configure(config.tracing, "encoder")
        self._config = config
        self._metrics = ServeMetrics()
        self._thread = ModelThread("encode")
        loaded = load_engine(config.engine, "encoder", self._metrics, self._thread, batch=config.batch_size)
        self._engine = loaded.engine
        self._batcher: Batcher[Pixels, PendingEmbedding] = Batcher(
            self._engine.start_encode, self._thread, loaded.batch, config.batch_wait_s, self._on_batch
        )
        side = self._engine.spec.image_size
        canary = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
        self._canary = Canary(lambda: _values(self._engine.encode([canary])[0]), self._thread)
        self._metrics.follow(NAMES.queue_age, lambda: self._batcher.oldest_s, stage="encode")
        self._metrics.set(NAMES.processes, 1, part="encoder")

    async def encode(self, image: Square | Source) -> Embedding:
        """One image's embedding. Raises OtherModel, DeadlineExceeded, PixelsLost, and what reading the image
        raises."""
        if image.model != self._engine.embedding_version:
            raise OtherModel
        with tracing.span("encoder.encode", image.traceparent):
            pending, _ = await self._batcher.submit(await self._pixels(image), deadline=image.deadline)
            # Not in the model's thread, which feeds the next batch to the GPU meanwhile.
            return await asyncio.to_thread(pending.result)

    async def ready(self) -> bool:
        """True, as soon as the replica answers at all."""
        return True

    async def check_health(self) -> None:
        """Called by Serve: runs the model on an image whose embedding is known."""
        await self._canary.check()

    def load(self) -> dict[str, float]:
        """The load that the autoscaling policy reads."""
        return report([self._batcher], self._thread)

    def _on_batch(self, images: int) -> None:
        self._metrics.observe(NAMES.batch_size, images, stage="encode")

    async def _pixels(self, image: Square | Source) -> Pixels:
        match image:
            case Square(reference=reference):
                pixels: Pixels = await referenced(reference, self._config.get_timeout_s)
                return pixels
            case Source(content=content):
                limit, side = self._config.max_image_pixels, self._engine.spec.image_size
                decoded = await asyncio.to_thread(decode_image, content, max_pixels=limit, target=side)
                return decoded.square
            case _:
                raise TypeError(f"expected a Square or a Source, got {type(image).__name__}")


async def referenced(reference: list[Any], timeout_s: float) -> Any:
    """The value of one nested ObjectRef. Raises PixelsLost."""
    try:
        async with asyncio.timeout(timeout_s):
            return await reference[0]
    except (TimeoutError, RayError) as error:
        raise PixelsLost from error


def _values(embedding: Embedding) -> npt.NDArray[Any]:
    """The coarsest features as float32; uint16 holds bfloat16, which is the upper half of a float32."""
    array = embedding.arrays["pvs_coarse"]
    if array.dtype == np.uint16:
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return np.asarray(array)
