"""The prompt decoder's deployment. It answers prompts from an image's features: from its hot tier, else from the
pool; where neither has them, it replies NeedImage."""

import asyncio
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from deployments.config import DecoderConfig
from deployments.decoder.features import FeatureLoader, HotImage
from deployments.decoder.hot import HotCache
from deployments.decoder.job import JobRunner
from deployments.decoder.prompts import PromptRunner, warm_up_encoding
from deployments.decoder.tracking import Tracker
from deployments.keys import ImageKey
from deployments.messages import Answered, PromptJob, Reply
from deployments.model.batcher import Batcher
from deployments.model.load import oldest_s, report
from deployments.model.loading import load_engine
from deployments.model.thread import Canary, ModelThread
from deployments.observe import tracing
from deployments.observe.metrics import NAMES
from deployments.observe.report import ServeMetrics
from deployments.pool.client import EmbeddingPoolClient
from deployments.protocol import Overloaded
from deployments.ray.hooks import HasPlace, ReportsLoad
from deployments.ray.loopback import stay_on_loopback
from deployments.video.messages import Tracked, TrackJob, TrackReply
from sam3_engine.embedding import Embedding
from sam3_engine.types import ImageSize, Point, VisualPrompt

if TYPE_CHECKING:
    from sam3_engine.engine import Engine
    from sam3_engine.features import Features

GPU_POST_THREADS = 4
"""Threads that encode masks where the model runs on a GPU; on a CPU there are as many as torch has."""


class PromptDecoder(ReportsLoad, HasPlace):
    """A Serve deployment. Ready once the model is loaded and warmed up."""

    def __init__(self, config: DecoderConfig) -> None:
        stay_on_loopback()
        tracing.configure(config.pool.tracing, "decoder")
        metrics = ServeMetrics()
        self._thread = ModelThread("prompt")
        loaded = load_engine(
            config.engine, "decoder", metrics, self._thread, batch=config.batch_size, hot=config.hot_bytes
        )
        self._engine = loaded.engine
        self._pool = EmbeddingPoolClient(config.pool, metrics)
        self._metrics = metrics
        post = ThreadPoolExecutor(
            config.engine.threads or GPU_POST_THREADS, thread_name_prefix="encode-masks"
        )
        idle_ttl_s = config.pool.budget.idle_ttl_s
        self._hot: HotCache[ImageKey, HotImage] = HotCache(
            loaded.hot,
            idle_ttl_s,
            on_evicted=lambda reason: metrics.add(NAMES.evictions, reason=reason, tier="hot"),
        )
        self._loader = FeatureLoader(self._pool, self._expand, self._hot, config.get_timeout_s)
        self._prompts = PromptRunner(
            self._engine,
            self._thread,
            post,
            metrics,
            config.batch_size,
            config.batch_wait_s,
        )
        self._tracker = None
        if config.video is not None:
            self._tracker = Tracker(
                self._engine,
                self._thread,
                post,
                self._expand,
                metrics,
                batch_size=config.batch_size,
                batch_wait_s=config.batch_wait_s,
                hot_bytes=loaded.tracks,
                idle_s=config.video.idle_s,
                get_timeout_s=config.get_timeout_s,
                states=self._pool,
                encoder=config.encoder,
            )
        self._jobs = JobRunner(
            model=self._engine.embedding_version,
            image_size=self._engine.spec.image_size,
            loader=self._loader,
            prompter=self._prompts,
            encoder=config.encoder,
            name=config.model,
        )
        self._learning: asyncio.Task[None] | None = None
        self._canary = Canary(canary_click(self._engine), self._thread)
        warm_up_encoding(self._engine)
        metrics.follow(NAMES.queue_age, lambda: oldest_s(self._batchers), stage="prompt")
        metrics.set(NAMES.processes, 1, part="decoder")

    async def run(self, job: PromptJob) -> Reply:
        """Answer a job, or reply NeedImage or Expired."""
        with tracing.span("decoder.run", job.traceparent):
            reply = await self._jobs.run(job)
            if isinstance(reply, Answered):
                tracing.stages(reply.stages)
            return reply

    async def track(self, job: TrackJob) -> TrackReply:
        """Answer frames of a video, or reply NeedImage or Expired."""
        if self._tracker is None:
            raise RuntimeError("this decoder was loaded without the parts for video")
        with tracing.span("decoder.track", job.traceparent):
            reply = await self._tracker.answer(job)
            if isinstance(reply, Tracked):
                tracing.stages(reply.stages)
            return reply

    async def forget_session(self, tenant: str, session: str) -> bool:
        """Drop the state of a video. Returns whether this replica had it."""
        return self._tracker is not None and self._tracker.forget(tenant, session)

    async def forget(self, tenant: str, digest: str, stamp: int) -> bool:
        """Drop an image and its data. Returns whether this replica had it."""
        return self._jobs.forget(tenant, digest, stamp)

    async def hot_images(self, tenant: str) -> list[str]:
        """Digests of a tenant's images in this replica's memory."""
        return self._loader.digests(tenant)

    async def ready(self) -> bool:
        """True while the embedding pool answers."""
        return await self._pool.ready()

    async def check_health(self) -> None:
        """Called by Serve: drops idle hot images, reports the tier's size, and runs a click whose result is known."""
        self._hot.drop_idle()
        self._metrics.set(NAMES.pool_bytes, self._hot.used, tier="hot")
        self._metrics.set(NAMES.pool_entries, len(self._hot), tier="hot")
        if self._tracker is not None:
            self._tracker.drop_idle()
            self._metrics.set(NAMES.video_bytes, self._tracker.held_bytes, tier="hot")
        if self._learning is None or (self._learning.done() and self._loader.since == math.inf):
            self._learning = asyncio.create_task(self._learn_the_time())
        await self._canary.check()

    def load(self) -> dict[str, float]:
        """The load that the autoscaling policy reads."""
        return report(self._batchers, self._thread)

    @property
    def _batchers(self) -> Sequence[Batcher[Any, Any]]:
        tracker = [] if self._tracker is None else [self._tracker.batcher]
        return [*self._prompts.batchers, *tracker]

    async def _learn_the_time(self) -> None:
        """Note the store's time: from now on, this decoder hears of deletions itself."""
        with suppress(Overloaded):
            self._loader.since = await self._pool.now()

    async def _expand(self, embedding: Embedding) -> "Features":
        def expand() -> "Features":
            return self._engine.expand(_own(embedding) if self._engine.device.type == "cpu" else embedding)

        # Not in the model's thread: a GPU waits for nothing that only copies.
        return await asyncio.to_thread(expand)


def canary_click(engine: "Engine") -> Any:
    """A function that runs one click on features that never change, and returns the mask's logits."""
    from sam3_engine.engine import VisualItem

    side = engine.spec.image_size
    features = engine.expand(engine.sample())
    item = VisualItem(features, ImageSize(side, side), [VisualPrompt((Point(side / 2, side / 2),))])

    def click() -> npt.NDArray[np.float32]:
        return engine.segment_visual([item])[0][0].low_res_logits

    return click


def _own(embedding: Embedding) -> Embedding:
    """A copy in this process's memory: on a CPU, features would otherwise pin the embedding in the object store."""
    return Embedding(embedding.version, {name: array.copy() for name, array in embedding.arrays.items()})
