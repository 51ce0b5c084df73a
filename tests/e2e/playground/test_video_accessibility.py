"""axe finds nothing in the video tab: empty, with objects; dark, light and on a phone."""

import pytest

from tests.e2e.playground.conftest import PHONE, Opener
from tests.e2e.playground.test_accessibility import assert_no_violation
from tests.support.clips import blue_at
from tests.support.video_tab import VideoTab

pytest.importorskip("axe_playwright_python", reason="comes with the test extra")


def work(tab: VideoTab) -> None:
    """Everything that the tab can show: a concept, an object of it, a clicked one, a hidden one, a notice."""
    assert_no_violation(tab.playground, "first page")
    tab.open(5)
    tab.find("red circle")
    tab.click(blue_at(0))
    tab.track()
    tab.page.get_by_role("button", name="Hide red circle 1").click()
    tab.find("green star")
    tab.playground.wait_for_notice("No green star")
    assert_no_violation(tab.playground, "followed")


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_no_violation_on_a_desk(open_page: Opener, video_url: str, scheme: str) -> None:
    work(VideoTab(open_page(video_url, color_scheme=scheme)))


def test_no_violation_on_a_phone(open_page: Opener, video_url: str) -> None:
    tab = VideoTab(open_page(video_url, **PHONE))
    work(tab)
    width = tab.page.evaluate("document.documentElement.scrollWidth")
    assert width <= PHONE["viewport"]["width"], "nothing is beyond the phone's edge"
