"""The FastAPI application around a Segmenter. Needs neither Ray nor torch."""

import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import cast

from fastapi import FastAPI
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES

from deployments.ingress.video.service import VideoSessions
from deployments.observe.metrics import Metrics
from deployments.protocol import Segmenter
from deployments.workflows.definitions import Definitions
from deployments.workflows.protocol import Workflows
from serve_app.http import errors, openapi
from serve_app.http.around.access_log import access_log
from serve_app.http.around.admission import Admission, GiveBack
from serve_app.http.around.compressed import Gunzip
from serve_app.http.around.error_forms import ErrorForms
from serve_app.http.around.middleware import ExchangeMiddleware, LastResort
from serve_app.http.around.observe import Observe, Reporter, RequestMetrics
from serve_app.http.around.route_names import RouteNames
from serve_app.http.around.standard import Cors, Gzip, Head
from serve_app.http.around.visitors import Visitors
from serve_app.http.context import HttpContext
from serve_app.http.reading.arrival import Arrivals
from serve_app.http.reading.fetch import ImageFetcher
from serve_app.http.sam3.routes import ROUTES
from serve_app.http.system import docs, models, playground, playground_picture, server
from serve_app.http.tenants.auth import KeyRing
from serve_app.http.tools import rooms
from serve_app.http.video.routes import VIDEO_ROUTES
from serve_app.http.workflows import routes as workflow_routes
from serve_app.models import Registry
from serve_app.settings import Settings

TITLE = "SAM 3 serve"
GZIP_LEVEL = 4
ANSWER_HEADERS = [
    "X-Request-ID",
    "X-Processing-Time",
    "X-Model-Id",
    "Server-Timing",
    "Retry-After",
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "RateLimit-Policy",
]


def create_app(
    segmenter: Segmenter | Callable[[], Segmenter],
    settings: Settings,
    *,
    fetcher: ImageFetcher | None = None,
    workflows: Workflows | None = None,
    video: VideoSessions | None = None,
    answer_request_id: bool = True,
    metrics: Metrics | None = None,
    log_directory: Path | None = None,
) -> FastAPI:
    """The HTTP API.

    segmenter: the service, or a function that returns it, called for each request (in a replica it may not exist
    at import). fetcher: fetches URL images; the default is made from the settings. workflows, video: run workflows,
    and follow objects through videos; None: their routes answer 501. answer_request_id: False where the server in
    front adds `X-Request-ID` to answers itself (Ray Serve does). metrics: counts requests. log_directory: the folder of
    the access log for `SAM3_ACCESS_LOG=on`; None: standard output.
    """
    keys = KeyRing(settings.api_keys_file)
    context = HttpContext(
        settings=settings,
        models=Registry.of(settings),
        segmenter=_as_function(segmenter),
        keys=keys,
        admission=Admission(
            most=settings.max_in_flight,
            shared=settings.places_while_shared,
            max_wait_s=settings.max_wait_s,
            retry_after_s=settings.retry_after_s,
        ),
        fetcher=fetcher or ImageFetcher(settings),
        arrivals=Arrivals(settings, alone=keys.open),
        definitions=Definitions(settings.workflows_dir, settings.workflow_cache_s),
        workflows=workflows,
        video=video,
    )

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await context.fetcher.close()

    app = FastAPI(
        title=TITLE,
        version=package_version(),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
    )
    app.state.context = context
    app.state.server_id = settings.server_id or uuid.uuid4().hex
    errors.install(app)
    for route in ROUTES:
        app.include_router(route.router)
    app.include_router(server.router)  # includes GET /metrics
    app.include_router(models.router)
    app.include_router(playground_picture.router)
    app.include_router(playground.router)
    app.include_router(workflow_routes.router, include_in_schema=workflows is not None)
    for route in VIDEO_ROUTES:
        app.include_router(route.router, include_in_schema=video is not None)
    for tool in rooms.routers(settings):
        app.include_router(tool)
    docs.install(app)
    openapi.install(app, settings, video=video is not None)
    metrics = metrics or Metrics()
    reporters: list[Reporter] = [RequestMetrics(metrics, by_tenant=_tenants_are_shown(settings))]
    if log := access_log(settings.access_log, log_directory, details=settings.access_log_details):
        reporters.append(log)
    _surround(app, context, answer_request_id, metrics, reporters)
    return app


def _tenants_are_shown(settings: Settings) -> bool:
    """An open server has only one tenant, so it shows no names."""
    return settings.tenant_metrics or settings.api_keys_file is None


def _surround(
    app: FastAPI,
    context: HttpContext,
    answer_request_id: bool,
    metrics: Metrics,
    reporters: Sequence[Reporter],
) -> None:
    """Add the middleware, innermost first."""
    settings = context.settings
    app.add_middleware(Gunzip, max_body_bytes=settings.max_body_bytes)
    app.add_middleware(LastResort, max_body_bytes=settings.max_body_bytes)
    app.add_middleware(GiveBack, admission=context.admission)
    app.add_middleware(Visitors, settings=settings)
    if forms := rooms.error_forms(settings):
        app.add_middleware(ErrorForms, forms=forms)
    app.add_middleware(
        Gzip,
        minimum_size=settings.gzip_min_bytes,
        compresslevel=GZIP_LEVEL,
        # An .npz is compressed already. Compression would hold a stream's lines back.
        exclude_content_types=(
            *DEFAULT_EXCLUDED_CONTENT_TYPES,
            "application/octet-stream",
            "application/x-ndjson",
        ),
    )
    app.add_middleware(Head)
    if settings.cors_origins:
        app.add_middleware(
            Cors,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "HEAD", "POST", "DELETE"],
            allow_headers=["*"],
            expose_headers=ANSWER_HEADERS,
        )
    app.add_middleware(
        Observe, routes=RouteNames(lambda: app.routes), metrics=metrics, reporters=tuple(reporters)
    )
    app.add_middleware(
        ExchangeMiddleware,
        timeout_s=settings.request_timeout_s,
        model_id=context.models.default.name,
        answer_request_id=answer_request_id,
    )


def _as_function(segmenter: Segmenter | Callable[[], Segmenter]) -> Callable[[], Segmenter]:
    if hasattr(segmenter, "answer"):
        return lambda: cast("Segmenter", segmenter)
    assert callable(segmenter)
    return segmenter


def package_version() -> str:
    """The installed package's version; 0 when run from a folder that is not installed."""
    try:
        return version("sam3-serve")
    except PackageNotFoundError:
        return "0"
