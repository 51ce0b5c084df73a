"""Take the playground's pictures for README and docs: python -m scripts.playground_pictures [URL]

Needs a running server with the bundled model (`make serve`), the test extra and Debian's chromium.
"""

import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from tests.support.browser import CHROMIUM, Playground

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
DESKTOP = {"viewport": {"width": 1280, "height": 760}}
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "has_touch": True,
    "is_mobile": True,
    "device_scale_factor": 1.5,
}
CAPTURE: dict[str, Any] = {"viewport": {"width": 1120, "height": 680}, "color_scheme": "dark"}
CAPTURE_WIDTH = 1120


def sample(playground: Playground, name: str) -> None:
    playground.page.click(f"[data-sample={name}]")
    playground.page.wait_for_selector("#picker", state="hidden")
    playground.settle()


def still(
    browser: Browser, url: str, name: str, prepare: Callable[[Playground], None], **context: Any
) -> None:
    playground = Playground(browser.new_context(**context), url)
    prepare(playground)
    playground.settle()
    with Image.open(io.BytesIO(playground.page.screenshot())) as picture:
        path = IMAGES / f"playground-{name}.webp"
        picture.save(path, quality=86, method=6)
    print(f"{path.name}: {path.stat().st_size // 1024} KiB")
    playground.page.context.close()


def desk(playground: Playground) -> None:
    sample(playground, "dusk")
    playground.find("yellow star, green star")
    playground.tool("box")
    playground.drag(20, 440, 230, 660)
    playground.page.mouse.move(*playground.place(570, 400))


def code(playground: Playground) -> None:
    sample(playground, "paper")
    playground.find("orange circle, blue square")
    playground.tab("Code")
    playground.tab("Python")


def phone(playground: Playground) -> None:
    sample(playground, "mint")
    playground.find("purple triangle, yellow circle")
    playground.page.locator("#concept").blur()
    playground.page.evaluate("scrollTo(0, 0)")


class Film:
    """Frames of one tab. A pointer is drawn into them, because screenshots show none."""

    def __init__(self, playground: Playground) -> None:
        self.playground = playground
        self.frames: list[Image.Image] = []
        self.durations: list[int] = []
        self.at = (560.0, 400.0)
        playground.page.evaluate(POINTER)

    def shoot(self, milliseconds: int) -> None:
        self.playground.page.evaluate("([x, y]) => globalThis.showPointer(x, y)", list(self.at))
        with Image.open(io.BytesIO(self.playground.page.screenshot())) as picture:
            height = round(picture.height * CAPTURE_WIDTH / picture.width)
            frame = picture.convert("RGB").resize((CAPTURE_WIDTH, height), Image.Resampling.LANCZOS)
        self.frames.append(frame)
        self.durations.append(milliseconds)

    def go(self, x: float, y: float, steps: int = 6) -> None:
        """Move the pointer to a place on the screen."""
        x0, y0 = self.at
        for step in range(1, steps + 1):
            part = step / steps
            eased = part * part * (3 - 2 * part)
            self.at = (x0 + (x - x0) * eased, y0 + (y - y0) * eased)
            self.playground.page.mouse.move(*self.at)
            self.shoot(40)

    def go_to(self, selector: str) -> None:
        box = self.playground.page.locator(selector).first.bounding_box()
        assert box is not None
        self.go(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)

    def click(self, wait: int = 700) -> None:
        self.playground.page.mouse.click(*self.at)
        self.playground.settle()
        self.shoot(wait)

    def type(self, text: str) -> None:
        for letter in text:
            self.playground.page.keyboard.type(letter)
            self.shoot(70)

    def drag(self, x0: float, y0: float, x1: float, y1: float) -> None:
        """Drag between two pixels of the image."""
        place, mouse = self.playground.place, self.playground.page.mouse
        self.go(*place(x0, y0))
        mouse.down()
        self.go(*place(x1, y1), steps=8)
        mouse.up()
        self.playground.settle()
        self.shoot(1200)

    def save(self, path: Path) -> None:
        first, *others = self.frames
        first.save(
            path,
            save_all=True,
            append_images=others,
            duration=self.durations,
            loop=0,
            quality=80,
            method=4,
            minimize_size=True,
        )
        seconds = sum(self.durations) / 1000
        print(f"{path.name}: {path.stat().st_size // 1024} KiB, {len(self.frames)} frames, {seconds:.0f} s")


def film(browser: Browser, url: str) -> None:
    """Film a sample, words, a threshold, an example, clicks and undo."""
    playground = Playground(browser.new_context(**CAPTURE), url)
    film = Film(playground)
    film.shoot(900)
    film.go_to("[data-sample=dusk]")
    playground.page.mouse.click(*film.at)
    playground.page.wait_for_selector("#picker", state="hidden")
    playground.settle()
    film.shoot(600)
    film.go_to("#concept")
    playground.page.mouse.click(*film.at)
    film.type("yellow star")
    playground.keys("Enter")
    film.shoot(1000)
    film.type("circle")
    playground.keys("Enter")
    film.shoot(1000)
    film.go(*playground.place(570, 410))
    film.shoot(900)
    film.go_to("[data-tool=like]")
    film.click(300)
    playground.keys("n")
    film.drag(270, 505, 455, 700)
    film.go_to("[data-tool=point]")
    film.click(300)
    playground.keys("n")
    film.go(*playground.place(120, 555))
    film.click(1100)
    film.go_to("#undo")
    film.click(700)
    film.go_to("#tab-code")
    film.click(1600)
    film.save(IMAGES / "playground.webp")
    playground.page.context.close()


POINTER = """() => {
    const pointer = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    pointer.setAttribute("viewBox", "0 0 24 24");
    pointer.innerHTML = '<path d="M4 2l15 9-7 1.5L8.500 19z" fill="#fff" stroke="#000" stroke-width="1.5"/>';
    const place = { position: "fixed", width: "26px", left: 0, top: 0, zIndex: 99, pointerEvents: "none" };
    Object.assign(pointer.style, place);
    document.body.append(pointer);
    globalThis.showPointer = (x, y) => (pointer.style.transform = `translate(${x - 4}px, ${y - 2}px)`);
}"""


def main() -> None:
    url = sys.argv[1] if len(sys.argv) > 1 else "http://localhost:9001/"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        still(browser, url, "dark", desk, color_scheme="dark", **DESKTOP)
        still(browser, url, "light", code, color_scheme="light", **DESKTOP)
        still(browser, url, "phone", phone, color_scheme="dark", **PHONE)
        film(browser, url)
        browser.close()


if __name__ == "__main__":
    main()
