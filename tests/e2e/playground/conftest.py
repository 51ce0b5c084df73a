"""The page on a server of this process whose model is a stand-in.

The server and its tabs are shared by all tests of a worker, as starting them costs more than most tests. Each test
gets a stand-in of its own, and the page as at a first visit: nothing kept, nothing open.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import pytest
from playwright.sync_api import Browser

from deployments.ingress.video.service import VideoSessions
from serve_app.http.app import create_app
from serve_app.settings import Settings
from tests.support.browser import Playground
from tests.support.fake_segmenter import FakeSegmenter
from tests.support.fake_video import FakeTracking, fake_video
from tests.support.http_server import serving
from tests.support.video_tab import VideoTab

Opener = Callable[..., Playground]
UNTIL_CANCELLED_S = 600.0
"""Seconds that an answer takes that nobody waits for."""
DESK: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}}
PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "has_touch": True,
    "is_mobile": True,
    "device_scale_factor": 2,
}


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Opener]:
    """Opens the page of a server, as somebody with a browser of their own. Nothing may be left in the console."""
    opened: list[Playground] = []

    def open_one(url: str, **context: Any) -> Playground:
        playground = Playground(browser.new_context(**{**DESK, **context}), url)
        opened.append(playground)
        return playground

    yield open_one
    complaints = [complaint for playground in opened for complaint in playground.complaints]
    for playground in opened:
        playground.page.context.close()
    assert complaints == []


@dataclass(slots=True)
class StandIn:
    """A server with default settings, and the segmenter that answers now."""

    url: str = ""
    segmenter: FakeSegmenter | None = None

    def current(self) -> FakeSegmenter:
        assert self.segmenter is not None
        return self.segmenter


@pytest.fixture(scope="session")
def stand_in() -> Iterator[StandIn]:
    stand_in = StandIn()
    with serving(create_app(stand_in.current, Settings())) as url:
        stand_in.url = url
        yield stand_in


@pytest.fixture
def fake(stand_in: StandIn) -> Iterator[FakeSegmenter]:
    stand_in.segmenter = FakeSegmenter()
    yield stand_in.segmenter
    stand_in.segmenter.hurried = True


@pytest.fixture
def server(stand_in: StandIn, fake: FakeSegmenter) -> str:
    return stand_in.url


@pytest.fixture(scope="session")
def desk_tab(browser: Browser, stand_in: StandIn) -> Playground:
    return Playground(browser.new_context(**DESK), stand_in.url)


@pytest.fixture(scope="session")
def phone_tab(browser: Browser, stand_in: StandIn) -> Playground:
    return Playground(browser.new_context(**PHONE), stand_in.url)


@contextmanager
def at_first_visit(playground: Playground) -> Iterator[None]:
    """A shared tab for one test: nothing kept at its begin, no complaint of the browser at its end."""
    playground.start_anew()
    yield
    complaints = [*playground.complaints]
    playground.put_away()
    assert complaints == []


@pytest.fixture
def playground(desk_tab: Playground, fake: FakeSegmenter) -> Iterator[Playground]:
    with at_first_visit(desk_tab):
        yield desk_tab


@pytest.fixture
def phone(phone_tab: Playground, fake: FakeSegmenter) -> Iterator[Playground]:
    with at_first_visit(phone_tab):
        yield phone_tab


class CurrentVideos:
    """The service of videos that answers now."""

    service: VideoSessions

    def __getattr__(self, name: str) -> Any:
        return getattr(self.service, name)


@dataclass(slots=True)
class VideoStandIn:
    """A server that follows videos without a model."""

    url: str
    videos: CurrentVideos


@pytest.fixture(scope="session")
def video_stand_in() -> Iterator[VideoStandIn]:
    videos = CurrentVideos()
    with serving(create_app(FakeSegmenter(), Settings(), video=cast(VideoSessions, videos))) as url:
        yield VideoStandIn(url, videos)


@pytest.fixture
def tracking(video_stand_in: VideoStandIn) -> FakeTracking:
    tracking = FakeTracking()
    video_stand_in.videos.service = fake_video(tracking)
    return tracking


@pytest.fixture
def video_url(video_stand_in: VideoStandIn, tracking: FakeTracking) -> str:
    return video_stand_in.url


@pytest.fixture(scope="session")
def video_desk(browser: Browser, video_stand_in: VideoStandIn) -> Playground:
    return Playground(browser.new_context(**DESK), video_stand_in.url)


@pytest.fixture
def tab(video_desk: Playground, tracking: FakeTracking) -> Iterator[VideoTab]:
    """The video tab as at a first visit."""
    with at_first_visit(video_desk):
        tab = VideoTab(video_desk)
        yield tab
        tab.forget()
