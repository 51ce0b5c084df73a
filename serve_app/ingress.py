"""The ingress: the HTTP application inside a Serve replica. Nothing here imports torch."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST
from ray import serve
from ray.serve.handle import DeploymentHandle

from deployments.config import PoolConfig
from deployments.ingress.decoding import ImageDecoding
from deployments.ingress.models import ModelRoute
from deployments.ingress.services import services
from deployments.ingress.video.reading import VideoReading
from deployments.observe import tracing
from deployments.observe.metrics import NAMES
from deployments.observe.report import ServeMetrics
from deployments.observe.scrape import ClusterMetrics
from deployments.ray.calls import connect
from deployments.ray.hooks import AnswersHttp, logs_directory
from deployments.ray.loopback import stay_on_loopback
from deployments.ray.nodes import metrics_addresses
from deployments.workflows.client import ServeWorkflows
from sam3_engine.images import lift_pillow_limit
from sam3_engine.video_files.reading import Limits
from serve_app.http.app import create_app
from serve_app.settings import Settings

MOST_DECODE_THREADS = 4


@serve.ingress()
class Ingress(AnswersHttp):
    """A Serve deployment. It answers as soon as it runs; `/readiness` says whether the model is ready."""

    def __init__(
        self,
        settings: Settings,
        pool: PoolConfig,
        routes: Sequence[ModelRoute],
        models: Mapping[str, DeploymentHandle[Any]],
        workflows: DeploymentHandle[Any] | None = None,
    ) -> None:
        """routes: of all models, the default's first. models: handles of their deployments by name."""
        stay_on_loopback()
        lift_pillow_limit()
        tracing.configure(pool.tracing, "ingress")
        self._settings = settings
        connect(*models.values(), workflows)
        self._metrics = ServeMetrics()
        auto = min(os.cpu_count() or 1, MOST_DECODE_THREADS)
        threads = auto if settings.ingress_threads == "auto" else settings.ingress_threads
        self._metrics.set(NAMES.processes, 1, part="ingress")
        self._cluster = ClusterMetrics(metrics_addresses)
        decoding = ImageDecoding(threads, settings.max_image_pixels)
        reading = VideoReading(threads, Limits(settings.video_max_frames, settings.video_max_pixels))
        self._service, self._video = services(
            routes, models, pool, self._metrics, decoding, reading, settings.retry_after_s
        )
        self._workflows = ServeWorkflows(workflows, settings.retry_after_s) if workflows else None

    def application(self) -> FastAPI:
        """The routes."""
        # Serve sets the header with the request id itself.
        app = create_app(
            self._service,
            self._settings,
            answer_request_id=False,
            metrics=self._metrics,
            log_directory=logs_directory(),
            workflows=self._workflows,
            video=self._video,
        )
        app.add_api_route("/metrics", self._exposition, include_in_schema=False)
        return app

    async def _exposition(self) -> Response:
        """The metrics of all nodes, for Prometheus."""
        return Response(await self._cluster.exposition(), media_type=CONTENT_TYPE_LATEST)
