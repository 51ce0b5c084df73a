"""The objects that the routes of one app share."""

from collections.abc import Callable
from dataclasses import dataclass, field

from starlette.requests import Request

from deployments.ingress.video.service import VideoSessions
from deployments.protocol import Segmenter
from deployments.workflows.definitions import Definitions
from deployments.workflows.protocol import Workflows
from serve_app.http.around.admission import Admission
from serve_app.http.around.described import Description
from serve_app.http.reading.arrival import Arrivals
from serve_app.http.reading.fetch import ImageFetcher
from serve_app.http.tenants.auth import KeyRing
from serve_app.models import Registry
from serve_app.settings import Settings


@dataclass(frozen=True, slots=True)
class HttpContext:
    """The shared objects, at `app.state.context`."""

    settings: Settings
    models: Registry
    segmenter: Callable[[], Segmenter]
    keys: KeyRing
    admission: Admission
    fetcher: ImageFetcher
    arrivals: Arrivals
    definitions: Definitions
    workflows: Workflows | None = None
    video: VideoSessions | None = None
    description: Description = field(default_factory=Description)


def context_of(request: Request) -> HttpContext:
    """The context of the request's app."""
    context: HttpContext = request.app.state.context
    return context
