"""Workflows as their clients see them: the real engine in its sandbox, the real client, and an HTTP server in this
process. A stand-in finds the shapes, so that drawings and counts can be checked."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import requests
from inference_sdk import InferenceConfiguration, InferenceHTTPClient

from deployments.workflows.runs import Runs
from deployments.workflows.sandbox import Sandbox
from deployments.workflows.workers import Workers
from harness.waiting import wait_until
from serve_app.http.app import create_app
from serve_app.settings import Settings
from serve_app.workflows import workflow_config
from tests.support.fake_segmenter import FakeSegmenter
from tests.support.fake_video import fake_video
from tests.support.http_server import serving
from tests.support.memory_sessions import MemorySessions
from tests.support.patience import PATIENCE_S


@dataclass(frozen=True)
class Server:
    """A server that runs workflows."""

    url: str
    segmenter: FakeSegmenter
    sessions: MemorySessions = field(default_factory=MemorySessions)

    @property
    def client(self) -> InferenceHTTPClient:
        client = InferenceHTTPClient(api_url=self.url)
        return client.configure(InferenceConfiguration(api_key_transport="header"))

    def post(self, route: str, document: Any, **options: Any) -> requests.Response:
        return requests.post(self.url + route, json=document, timeout=PATIENCE_S, **options)

    def run(self, specification: Any, inputs: Any = None, **fields: Any) -> requests.Response:
        return self.post("/workflows/run", {"specification": specification, "inputs": inputs or {}, **fields})


ServerFactory = Callable[..., AbstractContextManager[Server]]


@pytest.fixture(scope="session")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """The engine's processes, shared by all servers of these tests. They leave nothing behind."""
    pytest.importorskip("roboflow_workflows", reason="the extra `workflows` is not installed")
    folder = tmp_path_factory.mktemp("sandbox")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder))
        started = Sandbox(workflow_config(Settings()).sandbox())
    assert list(folder.iterdir())
    yield started
    started.close()
    wait_until(lambda: not list(folder.iterdir()))


@pytest.fixture(scope="session")
def start_server(sandbox: Sandbox) -> ServerFactory:
    """Starts servers with settings of their own. The settings that a worker is born with are the session's."""

    @contextmanager
    def start(segmenter: FakeSegmenter | None = None, **settings: Any) -> Iterator[Server]:
        config = workflow_config(chosen := Settings(workflows=True, **settings))
        answering, sessions = segmenter or FakeSegmenter(), MemorySessions()
        video = fake_video(store=sessions) if chosen.tracks_videos else None
        workers = Workers(sandbox, config.workers, config.most)
        runs = Runs(answering, workers, config.limits, video=video)
        app = create_app(answering, chosen, workflows=runs, video=video)
        with serving(app) as url:
            yield Server(url, answering, sessions)

    return start


@pytest.fixture(scope="module")
def server(start_server: ServerFactory) -> Iterator[Server]:
    """A server with default settings."""
    with start_server() as running:
        yield running
