"""axe finds nothing: on the first page, with results, with the row, in dialogs; dark, light and on a phone."""

import pytest

from tests.e2e.playground.conftest import Opener
from tests.support.browser import Playground
from tests.support.scenes import encoded, ring, scene

pytest.importorskip("axe_playwright_python", reason="comes with the test extra")


def assert_no_violation(playground: Playground, where: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(playground.page).response["violations"]
    assert [(where, one["id"], [node["html"] for node in one["nodes"]]) for one in found] == []


def work(playground: Playground) -> None:
    """Everything that the page can show: a row, a concept, one that found nothing, a named object, an example."""
    playground.load_all({"scene.png": encoded(scene()), "ring.tif": encoded(ring(), "TIFF")})
    playground.find("red circle, star")
    playground.click(230, 70)
    playground.tool("like")
    playground.drag(26, 36, 114, 124)


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_no_violation_on_a_desk(open_page: Opener, server: str, scheme: str) -> None:
    playground = open_page(server, color_scheme=scheme)
    assert_no_violation(playground, "first page")
    work(playground)
    assert_no_violation(playground, "results")
    for tab in ("Code", "Timing"):
        playground.tab(tab)
        assert_no_violation(playground, tab)
    for button, dialog in (
        ("#help", "#help-dialog"),
        ("#key", "#key-dialog"),
        ("#classes", "#classes-dialog"),
    ):
        playground.page.click(button)
        assert_no_violation(playground, dialog)
        playground.page.keyboard.press("Escape")
        playground.page.wait_for_selector(dialog, state="hidden")


def test_no_violation_on_a_phone(phone: Playground) -> None:
    assert_no_violation(phone, "first page")
    phone.load()
    phone.find("red circle")
    assert_no_violation(phone, "results")


def test_axe_sees_what_is_wrong(playground: Playground) -> None:
    playground.page.evaluate("document.querySelector('main').append(document.createElement('button'))")
    with pytest.raises(AssertionError, match="button-name"):
        assert_no_violation(playground, "a button without a name")


def test_only_tools_are_pressed_and_no_text_is_labelled(playground: Playground) -> None:
    playground.load()
    pressed = playground.page.evaluate(
        "[...document.querySelectorAll('[aria-pressed]')].map((one) => one.tagName)"
    )
    assert set(pressed) == {"BUTTON"}
    assert playground.page.locator("span[aria-label], div[aria-label]:not([role])").count() == 0
