"""Prompts on images whose features are at hand: batched through the model, masks encoded, results packed."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

from deployments.decoder.features import HotImage
from deployments.decoder.logits import LogitsCache
from deployments.keys import ImageKey
from deployments.model.batcher import Batcher
from deployments.model.thread import ModelThread
from deployments.observe.metrics import NAMES, Metrics
from deployments.protocol import ConceptRequest, VisualRequest
from deployments.results import dump_results
from sam3_engine.types import ImageSize, MaskFormat

if TYPE_CHECKING:
    from sam3_engine.engine import ConceptDetections, Engine, VisualMask

Stages = dict[str, float]
Pack = Callable[[Any, ImageSize, Any], bytes]

AT_ONCE_PIXELS = 2**20
"""Masks of so many pixels together are encoded on the event loop: a thread would take longer to wake up. Not those of a
GPU, which is to be waited for in a thread."""


class Prompting:
    """The model's side of a decoder. Clicks and concepts are batched apart, so a click waits for one pass at
    most."""

    def __init__(
        self,
        engine: "Engine",
        thread: ModelThread,
        post: Executor,
        logits: LogitsCache,
        metrics: Metrics,
        batch_size: int,
        batch_wait_s: float,
    ) -> None:
        """post: where masks are up-sampled and encoded. batch_size: most prompts in one call of the model."""
        self._post = post
        self._at_once = AT_ONCE_PIXELS if engine.device.type == "cpu" else 0
        self._logits = logits

        def on_batch(prompts: int) -> None:
            metrics.observe(NAMES.batch_size, prompts, stage="prompt")

        self._concepts: Batcher[Any, list[ConceptDetections]] = Batcher(
            engine.segment_concepts, thread, batch_size, batch_wait_s, on_batch
        )
        self._visuals: Batcher[Any, list[VisualMask]] = Batcher(
            engine.segment_visual, thread, batch_size, batch_wait_s, on_batch
        )

    @property
    def batchers(self) -> list[Batcher[Any, Any]]:
        """Where prompts wait for the model."""
        return [self._concepts, self._visuals]

    async def answer(
        self, key: ImageKey, image: HotImage, request: ConceptRequest | VisualRequest, deadline: float | None
    ) -> tuple[bytes, Stages]:
        """What `load_results` reads, and the seconds of queue, prompt and post. Raises DeadlineExceeded."""
        if isinstance(request, ConceptRequest):
            return await self._concept(image, request, deadline)
        return await self._visual(key, image, request, deadline)

    def forget(self, key: ImageKey) -> None:
        """Drop the saved logits of an image."""
        self._logits.forget(key)

    async def _concept(
        self, image: HotImage, request: ConceptRequest, deadline: float | None
    ) -> tuple[bytes, Stages]:
        from sam3_engine.engine import ConceptItem

        item = ConceptItem(image.features, image.size, request.prompts)  # type: ignore[arg-type]
        started = time.monotonic()
        found, queue_s = await self._concepts.submit(item, len(request.prompts), deadline)
        masks = sum(len(one.scores) for one in found)
        return await self._packed(masks, started, queue_s, _concept_results, found, image.size, request)

    async def _visual(
        self, key: ImageKey, image: HotImage, request: VisualRequest, deadline: float | None
    ) -> tuple[bytes, Stages]:
        from sam3_engine.engine import VisualItem

        prompts = self._logits.load(key, request.prompts) if request.load_logits else request.prompts
        item = VisualItem(image.features, image.size, prompts, request.multimask)  # type: ignore[arg-type]
        started = time.monotonic()
        masks, queue_s = await self._visuals.submit(item, len(prompts), deadline)
        if request.save_logits:
            self._logits.save(key, request.prompts, [mask.low_res_logits for mask in masks])
        return await self._packed(len(masks), started, queue_s, _visual_results, masks, image.size, request)

    async def _packed(
        self,
        masks: int,
        started: float,
        queue_s: float,
        pack: Pack,
        found: Any,
        size: ImageSize,
        request: Any,
    ) -> tuple[bytes, Stages]:
        modelled = time.monotonic()
        if masks * size.height * size.width <= self._at_once:
            data = pack(found, size, request)
        else:
            data = await asyncio.get_running_loop().run_in_executor(self._post, pack, found, size, request)
        stages = {
            "queue": queue_s,
            "prompt": modelled - started - queue_s,
            "post": time.monotonic() - modelled,
        }
        return data, stages


def _concept_results(found: "Sequence[ConceptDetections]", size: ImageSize, request: ConceptRequest) -> bytes:
    from sam3_engine.encode_masks import concept_instances

    as_json = request.as_json
    instances = concept_instances(found, size, request.mask_format, request.nms_iou_threshold, arrays=as_json)
    return dump_results(instances, as_json=as_json)


def _visual_results(masks: "Sequence[VisualMask]", size: ImageSize, request: VisualRequest) -> bytes:
    from sam3_engine.encode_masks import visual_instance

    instances = [visual_instance(mask, size, request.mask_format, arrays=request.as_json) for mask in masks]
    if request.mask_format != "binary":
        instances = [replace(instance, low_res_logits=None) for instance in instances]
    return dump_results(instances, as_json=request.as_json)


def warm_up_encoding(engine: "Engine") -> None:
    """Encode a mask in every format, so that no request pays for importing what that needs."""
    import numpy as np
    import torch

    from sam3_engine.engine import ConceptDetections

    side = engine.spec.mask_size
    found = ConceptDetections(
        np.ones(1, np.float32), np.zeros((1, 4), np.float32), torch.ones(1, side, side, device=engine.device)
    )
    for mask_format in get_args(MaskFormat):
        _concept_results([found], ImageSize(side, side), ConceptRequest((), mask_format, 0.5))
