"""Runs prompts on hot images: batches them through the model, encodes their masks and packs the results."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING, Any, get_args

from deployments.decoder.concept import ConceptHandler
from deployments.decoder.features import HotImage
from deployments.decoder.handler import Handler
from deployments.decoder.visual import VisualHandler
from deployments.keys import ImageKey
from deployments.model.batcher import Batcher
from deployments.model.thread import ModelThread
from deployments.observe.metrics import NAMES, Metrics
from deployments.protocol import ConceptRequest, PromptRequest, VisualRequest
from deployments.results import dump_results
from sam3_engine.types import ImageSize, MaskFormat

if TYPE_CHECKING:
    from sam3_engine.engine import Engine

Stages = dict[str, float]

HANDLERS: dict[type[PromptRequest[Any]], type[Handler[Any, Any, Any]]] = {
    ConceptRequest: ConceptHandler,
    VisualRequest: VisualHandler,
}
"""The handler of each kind of request."""

AT_ONCE_PIXELS = 2**20
"""Masks with at most this many pixels together are encoded on the event loop: waking a thread would take longer. On a
GPU all masks are encoded in a thread, because encoding waits for the device."""


class PromptRunner:
    """Runs requests through the model. Each kind of request has its own batches, so a click waits for at most one
    pass of another kind."""

    def __init__(
        self,
        engine: "Engine",
        thread: ModelThread,
        post: Executor,
        metrics: Metrics,
        batch_size: int,
        batch_wait_s: float,
    ) -> None:
        """post: the executor that up-samples and encodes masks. batch_size: most prompts in one call of the model."""
        self._post = post
        self._at_once = AT_ONCE_PIXELS if engine.device.type == "cpu" else 0

        def on_batch(prompts: int) -> None:
            metrics.observe(NAMES.batch_size, prompts, stage="prompt")

        self._handlers = {request: handler(engine) for request, handler in HANDLERS.items()}
        self._batchers: dict[type[PromptRequest[Any]], Batcher[Any, Any]] = {
            request: Batcher(handler.run, thread, batch_size, batch_wait_s, on_batch)
            for request, handler in self._handlers.items()
        }

    @property
    def batchers(self) -> Sequence[Batcher[Any, Any]]:
        """The batchers, in which prompts wait for the model."""
        return list(self._batchers.values())

    async def answer(
        self, key: ImageKey, image: HotImage, request: PromptRequest[Any], deadline: float | None
    ) -> tuple[bytes, Stages]:
        """Input of `results.load_results`, and the seconds of queue, prompt and post. Raises DeadlineExceeded."""
        handler = self._handlers[type(request)]
        item, prompts = handler.item(key, image, request)
        started = time.monotonic()
        found, queue_s = await self._batchers[type(request)].submit(item, prompts, deadline)
        modelled = time.monotonic()
        handler.keep(key, request, found)
        if handler.masks(found) * image.size.height * image.size.width <= self._at_once:
            data = _pack(handler, found, image.size, request)
        else:
            loop = asyncio.get_running_loop()
            data = await loop.run_in_executor(self._post, _pack, handler, found, image.size, request)
        return data, {
            "queue": queue_s,
            "prompt": modelled - started - queue_s,
            "post": time.monotonic() - modelled,
        }

    def forget(self, key: ImageKey) -> None:
        """Drop all data kept of requests for an image."""
        for handler in self._handlers.values():
            handler.forget(key)


def _pack(handler: Handler[Any, Any, Any], found: Any, size: ImageSize, request: PromptRequest[Any]) -> bytes:
    return dump_results(handler.instances(found, size, request), as_json=request.as_json)


def warm_up_encoding(engine: "Engine") -> None:
    """Encode a mask in every format, so that no request pays for the imports."""
    import numpy as np
    import torch

    from sam3_engine.engine import ConceptDetections

    side = engine.spec.mask_size
    found = ConceptDetections(
        np.ones(1, np.float32), np.zeros((1, 4), np.float32), torch.ones(1, side, side, device=engine.device)
    )
    for mask_format in get_args(MaskFormat):
        _pack(
            ConceptHandler(engine),
            [found],
            ImageSize(side, side),
            ConceptRequest((), 0.5, mask_format=mask_format),
        )
