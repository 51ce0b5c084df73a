"""The page on a server as its users start it, with the bundled model."""

from pathlib import Path

import pytest
from playwright.sync_api import expect
from pycocotools.coco import COCO

from harness.server import ServerProcess
from tests.e2e.playground.conftest import Opener
from tests.support.browser import Playground


@pytest.fixture
def tiny(open_page: Opener, tiny_server: ServerProcess) -> Playground:
    return open_page(tiny_server.url)


def sample(playground: Playground, name: str) -> None:
    playground.page.click(f"[data-sample={name}]")
    playground.page.wait_for_selector("#picker", state="hidden")
    playground.settle()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools 2.0
def test_text_click_box_example_and_export(tiny: Playground, tmp_path: Path) -> None:
    sample(tiny, "dusk")
    tiny.page.get_by_role("button", name="yellow star", exact=True).first.click()
    tiny.settle()
    assert tiny.prompts() == {"yellow star": 3}
    assert tiny.page.locator(".note").count() == 1, "it says what it knows"
    tiny.page.get_by_role("button", name="Remove yellow star").click()
    tiny.find("circle")
    expect(tiny.page.locator("#status-timing")).to_contain_text("hot")
    coco = COCO(tiny.saved("COCO JSON", tmp_path))
    first, second = coco.loadAnns(coco.getAnnIds())
    x, y, width, height = first["bbox"]
    tiny.click(x + width / 2, y + height / 2)
    tiny.tool("box")
    x, y, width, height = second["bbox"]
    tiny.drag(x - 5, y - 5, x + width + 5, y + height + 5)
    tiny.tool("like")
    tiny.drag(x - 2, y - 2, x + width + 2, y + height + 2)
    assert list(tiny.prompts()) == [
        "circle",
        "Object 1 · 1 click",
        "Object 2 · 1 box",
        "Like the example · 1 similar",
    ]
    circles = tiny.areas()[:2]
    for area, truth in zip(tiny.areas()[2:4], circles, strict=True):
        assert area == pytest.approx(truth, rel=0.15)
    assert tiny.prompts()["Like the example · 1 similar"] >= 2
    coco = COCO(tiny.saved("COCO JSON", tmp_path))
    for annotation in coco.loadAnns(coco.getAnnIds()):
        assert int(coco.annToMask(annotation).sum()) == pytest.approx(annotation["area"], rel=0.02)
    tiny.tab("Timing")
    tiers = tiny.page.locator("#timing-rows .tier").all_inner_texts()
    assert set(tiers[:-1]) == {"hot"}, "only the first request encodes"
