"""The video tab on a server as its users start it, with the bundled model."""

from pathlib import Path

import pytest
import requests
from pycocotools.coco import COCO

from harness.server import ServerProcess
from harness.waiting import wait_until
from tests.e2e.playground.conftest import Opener
from tests.support.clips import blue_at, red_at
from tests.support.patience import PATIENCE_S
from tests.support.video_tab import VideoTab

FRAMES = 10


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools 2.0
def test_a_video_is_followed_corrected_and_saved(
    open_page: Opener, tiny_server: ServerProcess, tmp_path: Path
) -> None:
    tab = VideoTab(open_page(tiny_server.url))
    tab.open(FRAMES)
    tab.find("red circle")
    assert list(tab.objects()) == ["red circle 1"]
    assert tab.colour_at(red_at(0)) != tab.colour_at((310, 10))
    tab.click(blue_at(0))
    tab.track()
    assert tab.answered() == FRAMES
    tab.look(4)
    tab.click(blue_at(4))
    assert tab.answered() == 5
    tab.track()
    assert tab.answered() == FRAMES
    assert {"red circle 1", "Object 2"} <= set(tab.objects())
    coco = COCO(tab.playground.saved("COCO JSON", tmp_path))
    assert [one["frame"] for one in coco.loadImgs(coco.getImgIds())] == list(range(FRAMES))
    found = coco.loadAnns(coco.getAnnIds())
    assert {(1, "red circle"), (2, "object")} <= {
        (one["track_id"], coco.loadCats([one["category_id"]])[0]["name"]) for one in found
    }
    for one in found:
        assert int(coco.annToMask(one).sum()) == pytest.approx(one["area"], rel=0.05)
    tab.page.get_by_role("tab", name="Images").click()
    address = f"{tiny_server.url}/sam3/video/sessions"
    wait_until(lambda: requests.get(address, timeout=PATIENCE_S).json()["sessions"] == [])
