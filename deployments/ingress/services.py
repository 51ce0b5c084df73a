"""The services of a process that calls the models: images, and videos where the application has them. No torch."""

from collections.abc import Mapping, Sequence
from typing import Any

from ray.serve.handle import DeploymentHandle

from deployments.config import PoolConfig
from deployments.ingress.decoders import ServeDecoders
from deployments.ingress.decoding import ImageDecoding
from deployments.ingress.models import ModelRoute, models_of
from deployments.ingress.service import SegmentationService
from deployments.ingress.video.dispatch import FrameDispatcher
from deployments.ingress.video.reading import VideoReading
from deployments.ingress.video.service import VideoSessions
from deployments.observe.metrics import Metrics
from deployments.pool.client import EmbeddingPoolClient
from deployments.store.valkey import ValkeyStore
from deployments.store.valkey_sessions import sessions_of


def services(
    routes: Sequence[ModelRoute],
    handles: Mapping[str, DeploymentHandle[Any]],
    pool: PoolConfig,
    metrics: Metrics,
    decoding: ImageDecoding,
    reading: VideoReading,
    retry_after_s: float,
) -> tuple[SegmentationService, VideoSessions | None]:
    """routes: of all models, the default's first. handles: of their deployments by name. reading: of videos' files."""
    decoders = {
        route.model[0]: ServeDecoders(
            handles[route.decoder],
            handles[route.encoder],
            retry_after_s,
            pool.hedge,
            metrics,
            route.may_sleep,
        )
        for route in routes
    }
    shards = EmbeddingPoolClient(pool, metrics, retry_after_s)
    store, idle_ttl_s = ValkeyStore(pool.store, metrics), pool.store.idle_ttl_s
    models = models_of(routes, decoders)
    images = SegmentationService(models, shards, store, metrics, decoding, idle_ttl_s)
    sessions = sessions_of(pool, metrics)
    if sessions is None:
        return images, None
    frames = FrameDispatcher(decoders[models.default], shards, decoding)
    return images, VideoSessions(sessions, frames, reading, metrics)
