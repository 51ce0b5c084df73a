"""The server that the contract is tested against.

By default the HTTP API around a stand-in for the model, in this process. `SAM3_CONTRACT_URL=http://...` runs
the same tests against a server that is up already, without those that need a server of their own settings.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from deployments.ingress.video.service import VideoSessions
from serve_app.http.app import create_app
from serve_app.settings import Settings
from tests.support.fake_segmenter import FakeSegmenter
from tests.support.fake_video import fake_video
from tests.support.http_server import serving
from tests.support.patience import PATIENCE_S

URL_VARIABLE = "SAM3_CONTRACT_URL"
HERE = Path(__file__).parent
ServerFactory = Callable[..., AbstractContextManager[str]]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Only tests that ask the server, where there is one."""
    if os.environ.get(URL_VARIABLE):
        others = [item for item in items if item.path.is_relative_to(HERE) and not _asks_the_server(item)]
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item not in others]


def _asks_the_server(item: pytest.Item) -> bool:
    return "server" in getattr(item, "fixturenames", ())


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """The URL of a server with default settings."""
    url = os.environ.get(URL_VARIABLE)
    if url:
        yield url.rstrip("/")
        return
    with own_server() as url:
        yield url


@contextmanager
def own_server(
    segmenter: FakeSegmenter | None = None, video: VideoSessions | None = None, **settings: Any
) -> Iterator[str]:
    """A server of this process with settings of its own."""
    chosen = Settings(**settings)
    video = (video or fake_video()) if chosen.tracks_videos else None
    app = create_app(segmenter or FakeSegmenter(), chosen, video=video)
    with serving(app) as url:
        yield url


@pytest.fixture
def start_server() -> ServerFactory:
    """Starts servers with settings of their own."""
    return own_server


class Client:
    """Posts JSON, and expects a status."""

    def __init__(self, url: str) -> None:
        self.url = url

    def post(self, route: str, body: Any, expect: int = 200, **options: Any) -> Any:
        """The decoded answer."""
        answer = self.send(route, body, **options)
        assert answer.status_code == expect, answer.text
        return answer.json()

    def send(self, route: str, body: Any, **options: Any) -> requests.Response:
        return requests.post(self.url + route, json=body, timeout=PATIENCE_S, **options)

    def concept(self, body: Any, expect: int = 200, **options: Any) -> Any:
        return self.post("/sam3/concept_segment", body, expect, **options)

    def visual(self, body: Any, expect: int = 200, **options: Any) -> Any:
        return self.post("/sam3/visual_segment", body, expect, **options)

    def embed(self, body: Any, expect: int = 200, **options: Any) -> Any:
        return self.post("/sam3/embed_image", body, expect, **options)


@pytest.fixture(scope="session")
def client(server: str) -> Client:
    """A client of the server."""
    return Client(server)
