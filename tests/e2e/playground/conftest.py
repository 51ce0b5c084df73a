"""A browser, and the page on a server of this process whose model is a stand-in."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser

from tests.contract.conftest import own_server
from tests.support.browser import Playground, chromium
from tests.support.fake_segmenter import FakeSegmenter

Opener = Callable[..., Playground]
UNTIL_CANCELLED_S = 600.0
"""How long an answer takes that nobody waits for."""


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Opener]:
    """Opens the page of a server, as somebody with a browser of their own. Nothing may be left in the console."""
    opened: list[Playground] = []

    def open_one(url: str, **context: object) -> Playground:
        options = {"viewport": {"width": 1280, "height": 800}, **context}
        playground = Playground(browser.new_context(**options), url)
        opened.append(playground)
        return playground

    yield open_one
    complaints = [complaint for playground in opened for complaint in playground.complaints]
    for playground in opened:
        playground.page.context.close()
    assert complaints == []


@pytest.fixture
def fake() -> FakeSegmenter:
    return FakeSegmenter()


@pytest.fixture
def server(fake: FakeSegmenter) -> Iterator[str]:
    with own_server(fake) as url:
        yield url
        fake.hurried = True


@pytest.fixture
def playground(open_page: Opener, server: str) -> Playground:
    return open_page(server)
