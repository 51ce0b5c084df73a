"""Keys while something else is under way: in a field, in a drag, at the edge of the visible part."""

import json

from playwright.sync_api import expect

from tests.support.browser import Playground
from tests.support.scenes import encoded, scene


def focused(playground: Playground) -> str:
    return str(playground.page.evaluate("document.activeElement.id"))


def test_undo_right_after_naming_takes_the_concept_back(playground: Playground) -> None:
    playground.load()
    playground.find("red circle")
    assert focused(playground) == "concept"
    playground.keys("Control+z")
    assert playground.prompts() == {}
    playground.keys("Control+y")
    assert playground.prompts() == {"red circle": 2}


def test_undo_while_a_text_is_typed_belongs_to_the_field(playground: Playground) -> None:
    playground.load()
    playground.find("red circle")
    playground.page.keyboard.type("blue")
    playground.keys("Control+z")
    assert playground.prompts() == {"red circle": 2}


def test_escape_leaves_the_field(playground: Playground) -> None:
    playground.load()
    playground.page.locator("#concept").focus()
    playground.page.keyboard.type("bl")
    playground.keys("Escape", "b")
    assert focused(playground) == "stage"
    assert playground.page.get_attribute("[data-tool=box]", "aria-pressed") == "true"
    assert playground.page.input_value("#concept") == "bl"


def test_escape_in_a_name_leaves_it_as_it_was(playground: Playground) -> None:
    playground.load()
    playground.click(230, 70)
    field = playground.page.get_by_label("Class of Object 1")
    field.fill("tile")
    playground.keys("Enter")
    field.fill("door")
    playground.keys("Escape")
    assert field.input_value() == "tile"


def test_escape_cancels_a_drag(playground: Playground) -> None:
    playground.load()
    playground.tool("box")
    playground.page.mouse.move(*playground.place(26, 36))
    playground.page.mouse.down()
    playground.page.mouse.move(*playground.place(60, 60))
    playground.keys("Escape")
    playground.page.mouse.move(*playground.place(114, 124))
    playground.page.mouse.up()
    playground.settle()
    assert playground.prompts() == {}
    playground.drag(26, 36, 114, 124)
    assert playground.prompts() == {"Object 1 · 1 box": 1}


def test_the_view_follows_the_keyboards_cursor(playground: Playground) -> None:
    playground.load(encoded(scene().resize((1600, 1280))))
    playground.keys("Escape", "1", "+", "+", "+", "+")
    playground.page.keyboard.press("Tab")
    playground.page.keyboard.press("Shift+Tab")
    assert focused(playground) == "stage"
    before = json.loads(playground.page.get_attribute("#stage", "data-view") or "")
    playground.keys(*["ArrowRight"] * 60)
    after = json.loads(playground.page.get_attribute("#stage", "data-view") or "")
    assert after["x"] < before["x"]
    assert (after["y"], after["scale"]) == (before["y"], before["scale"])


def test_the_toolbar_of_a_phone_shows_that_it_scrolls(phone: Playground) -> None:
    after, before = phone.page.locator("#tools-after"), phone.page.locator("#tools-before")
    expect(after).to_be_visible()
    expect(before).to_be_hidden()
    phone.page.evaluate("document.getElementById('tools').scrollTo({ left: 1e4, behavior: 'instant' })")
    expect(before).to_be_visible()
    expect(after).to_be_hidden()
