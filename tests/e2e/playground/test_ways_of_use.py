"""Phone, touch, keyboard, screen reader, dark and light; nothing jumps."""

import pytest
from playwright.sync_api import expect

from tests.e2e.playground.conftest import Opener
from tests.support.browser import Playground
from tests.support.fake_segmenter import FakeSegmenter


def test_phone(phone: Playground, fake: FakeSegmenter) -> None:
    phone.load()
    phone.find("red circle")
    assert phone.prompts() == {"red circle": 2}
    phone.page.locator("#stage").scroll_into_view_if_needed()
    phone.page.touchscreen.tap(*phone.place(230, 70))
    phone.settle()
    assert phone.prompts() == {"red circle": 2, "Object 1 · 1 click": 1}
    phone.tool("minus")
    phone.page.touchscreen.tap(*phone.place(70, 80))
    phone.settle()
    assert phone.prompts()["Object 1 · 2 clicks"] == 1
    width = phone.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width[0] <= width[1], "nothing sticks out"
    for button in phone.page.locator("#prompts button, #instances button, #tools button").all():
        box = button.bounding_box()
        assert box is not None
        assert box["height"] >= 34
        assert box["width"] >= 34


def test_two_fingers_zoom(phone: Playground) -> None:
    phone.load()
    before = phone.place(160, 128)
    wire = phone.page.context.new_cdp_session(phone.page)

    def fingers(kind: str, *points: tuple[float, float]) -> None:
        touches = [{"x": x, "y": y, "id": index} for index, (x, y) in enumerate(points)]
        wire.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

    x, y = before
    scale = phone.place(161, 128)[0] - before[0]
    fingers("touchStart", (x - 30, y), (x + 30, y))
    fingers("touchMove", (x - 45, y), (x + 45, y))
    fingers("touchMove", (x - 60, y), (x + 60, y))
    fingers("touchEnd")
    phone.settle()
    after = phone.place(160, 128)
    assert (phone.place(161, 128)[0] - after[0]) / scale == pytest.approx(2, rel=0.1)
    assert after == pytest.approx(before, abs=8), "what is between the fingers stays there"
    assert phone.prompts() == {}, "it is no click"


def test_a_long_press_is_a_right_click(phone: Playground) -> None:
    phone.load()
    phone.page.touchscreen.tap(*phone.place(70, 80))
    phone.settle()
    x, y = phone.place(230, 70)
    wire = phone.page.context.new_cdp_session(phone.page)
    wire.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    expect(phone.page.locator(".prompt-text")).to_have_text("Object 1 · 2 clicks")
    wire.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    phone.settle()
    assert phone.prompts() == {"Object 1 · 2 clicks": 1}


def test_keyboard_alone(playground: Playground) -> None:
    page = playground.page
    page.get_by_role("button", name="Sample: Stars and circles at dusk").focus()
    playground.keys("Enter")
    page.wait_for_selector("#picker", state="hidden")
    playground.load()  # the chooser itself belongs to the browser
    page.locator("#concept").focus()
    page.keyboard.type("red circle")
    playground.keys("Enter")
    assert playground.prompts() == {"red circle": 2}
    page.locator("#concept").blur()
    for _ in range(40):
        playground.page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "stage":
            break
    playground.keys("b")
    start = (160, 128)  # where the cursor begins
    target = (275, 25)
    step = 12 / page.evaluate("JSON.parse(document.getElementById('stage').dataset.view).scale")
    playground.keys(
        *["ArrowRight"] * round((target[0] - start[0]) / step),
        *["ArrowUp"] * round((start[1] - target[1]) / step),
    )
    playground.keys("Enter")
    playground.keys(*["ArrowLeft"] * round(90 / step), *["ArrowDown"] * round(90 / step), "Shift+ArrowDown")
    playground.keys("Enter")
    assert playground.prompts() == {"red circle": 2, "Object 1 · 1 box": 1}
    expect(page.locator("#live")).to_contain_text("Object 1: confidence 0.90")
    playground.keys("n", "c", "Enter")
    assert list(playground.prompts()) == ["red circle", "Object 1 · 1 box", "Object 2 · 1 click"]


def test_arrows_walk_through_the_tools(playground: Playground) -> None:
    playground.page.locator("[data-tool=select]").focus()
    playground.keys("ArrowDown", "ArrowDown", "Enter")
    assert playground.page.get_attribute("[data-tool=minus]", "aria-pressed") == "true"
    playground.keys("Home", "Enter")
    assert playground.page.get_attribute("[data-tool=select]", "aria-pressed") == "true"


def test_results_are_announced(playground: Playground) -> None:
    playground.load()
    playground.find("red circle, star")
    expect(playground.page.locator("#live")).to_have_text("red circle: 2 found. star: 0 found.")


def test_everything_that_can_be_used_has_a_name(playground: Playground) -> None:
    playground.load()
    playground.find("red circle")
    playground.click(230, 70)
    snapshot = playground.page.locator("body").aria_snapshot()
    for line in snapshot.splitlines():
        role = line.strip(" -:").split(" ")[0]
        if role in ("button", "textbox", "slider", "tab", "toolbar", "dialog", "application"):
            assert '"' in line, line
    for name in ("Hide red circle 1", "Delete red circle 1", "Remove Object 1", "Undo"):
        assert playground.page.get_by_role("button", name=name).count() == 1, name
    assert playground.page.get_by_role("slider", name="Confidence for red circle").count() == 1


def test_focus_stays_in_the_list_when_a_row_goes(playground: Playground) -> None:
    playground.load()
    playground.find("red circle")
    playground.page.get_by_role("button", name="Delete red circle 1").focus()
    playground.keys("Enter")
    assert playground.page.evaluate("document.activeElement.closest('li') !== null")


def test_nothing_jumps(playground: Playground) -> None:
    playground.page.evaluate(
        """() => {
            const told = (shift) => `${shift.value} ${shift.sources.map((one) => one.node?.id || one.node?.className)}`;
            window.jumps = [];
            new PerformanceObserver((list) => {
                // What moves because somebody clicked or typed just now is meant to move.
                for (const one of list.getEntries()) if (!one.hadRecentInput) window.jumps.push(told(one));
            }).observe({ type: "layout-shift", buffered: true });
        }"""
    )
    before = playground.page.locator("#area").bounding_box()
    playground.page.click("button.sample >> nth=1")
    playground.settle()
    playground.find("circle, blue square")
    playground.click(100, 100)
    assert playground.page.locator("#area").bounding_box() == before
    assert playground.page.evaluate("window.jumps") == []


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_texts_stand_out_in_both_schemes(open_page: Opener, server: str, scheme: str) -> None:
    playground = open_page(server, color_scheme=scheme)
    playground.load()
    playground.find("red circle")
    ratios = playground.page.evaluate(CONTRASTS)
    assert len(ratios) > 20
    assert [one for one in ratios if one[1] < 4.5] == []


def test_the_scheme_can_be_chosen_and_is_kept(open_page: Opener, server: str) -> None:
    playground = open_page(server, color_scheme="light")
    ground = "getComputedStyle(document.querySelector('header')).backgroundColor"
    light = playground.page.evaluate(ground)
    playground.page.get_by_role("button", name="Dark or light").click()
    dark = playground.page.evaluate(ground)
    assert dark != light
    playground.page.reload()
    playground.settle()
    assert playground.page.evaluate(ground) == dark


CONTRASTS = """() => {
    const canvas = new OffscreenCanvas(1, 1), context = canvas.getContext("2d", { willReadFrequently: true });
    const rgba = (colour) => {
        context.clearRect(0, 0, 1, 1);
        context.fillStyle = colour;
        context.fillRect(0, 0, 1, 1);
        return [...context.getImageData(0, 0, 1, 1).data];
    };
    const linear = (value) => (value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    const weights = [0.2126, 0.7152, 0.0722];
    const luminance = (rgb) => weights.reduce((sum, part, at) => sum + part * linear(rgb[at] / 255), 0);
    const ground = (node) => {
        for (let at = node; at; at = at.parentElement) {
            const colour = rgba(getComputedStyle(at).backgroundColor);
            if (colour[3] > 200) return colour;
        }
        return [255, 255, 255, 255];
    };
    const found = [];
    for (const node of document.querySelectorAll("body *")) {
        const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
        if (!own || node.closest("button:disabled, .unseen, .skip, #drop-hint") || !node.checkVisibility()) continue;
        const both = [luminance(rgba(getComputedStyle(node).color)), luminance(ground(node))];
        found.push([node.textContent.trim().slice(0, 30), (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05)]);
    }
    return found;
}"""
