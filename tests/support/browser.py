"""Drives the playground in Debian's Chromium as a person would: it looks, clicks and types."""

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Download,
    FilePayload,
    Page,
    Route,
    expect,
    sync_playwright,
)

from tests.support.scenes import encoded, scene

CHROMIUM = "/usr/bin/chromium"
EVIL = "evil.example"
"""A name that the browser resolves to loopback, as after DNS rebinding."""
WAIT_MS = 180_000
"""Milliseconds to wait for a condition: a busy machine is slow, and a failure waits once."""


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window. A process can have one at a time."""
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as playwright:
        # A container has neither the rights for a sandbox nor much shared memory.
        arguments = ["--no-sandbox", "--disable-dev-shm-usage", f"--host-resolver-rules=MAP {EVIL} 127.0.0.1"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


class Held:
    """Requests of a page that do not go out until `let_go`."""

    def __init__(self, page: Page, url: str) -> None:
        """url: a pattern, as `Page.route` takes it."""
        self._routes: list[Route] = []
        self._is_holding = True
        self._page = page
        page.route(url, self._hold)

    def _hold(self, route: Route) -> None:
        if self._is_holding:
            self._routes.append(route)
        else:
            route.continue_()

    def wait(self) -> None:
        """Wait for one."""
        while not self._routes:
            self._page.wait_for_timeout(20)

    def let_go(self, status: int | None = None) -> None:
        """Let them go to the server; with a status, answer those that wait with that."""
        self._is_holding = False
        for route in self._routes:
            if status is None:
                route.continue_()
            else:
                route.fulfill(status=status, json={"error": {"message": "held back"}})


class Playground:
    """One tab with the page open. Coordinates are pixels of the image."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.page: Page = context.new_page()
        self.page.set_default_timeout(WAIT_MS)
        self.url = url
        self.complaints: list[str] = []
        """The console's messages: errors of scripts, violations of the content policy, failed loads."""
        self.page.on("console", lambda message: self._note(message.type, message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(f"exception: {error}"))
        self.page.goto(url)
        self.settle()

    def start_anew(self) -> None:
        """The page as at a first visit: nothing kept in the browser but its cache of files."""
        if self.page.url != "about:blank":
            self.put_away()
        wire = self.page.context.new_cdp_session(self.page)
        kinds = "local_storage,indexeddb,cookies"
        wire.send("Storage.clearDataForOrigin", {"origin": self.url, "storageTypes": kinds})
        wire.detach()
        self.complaints.clear()
        self.page.goto(self.url)
        self.page.evaluate("sessionStorage.clear()")
        self.settle()

    def put_away(self) -> None:
        """Leave the page, which would run beside the tests after it."""
        self.page.unroute_all()
        self.page.mouse.move(0, 0)
        self.page.goto("about:blank")

    def reload(self) -> None:
        """Load the page again, as after a crash: it shows the kept images and prompts."""
        self.page.reload()
        self.settle()

    def _note(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(f"{kind}: {text}")

    def settle(self) -> None:
        """Wait until everything that was asked for is answered and drawn."""
        self.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        self.page.wait_for_selector("body[data-state=idle]")

    def load(self, content: bytes | None = None, name: str = "scene.png") -> None:
        """Choose an image file."""
        self.load_all({name: encoded(scene()) if content is None else content})

    def load_all(self, files: Mapping[str, bytes]) -> None:
        """Choose image files, by their names."""
        self.choose(files)
        self.settle()

    def choose(self, files: Mapping[str, bytes]) -> None:
        """Choose image files, and go on at once."""
        chosen = [FilePayload(name=name, mimeType="", buffer=content) for name, content in files.items()]
        self.page.set_input_files("#file", chosen)

    def row(self) -> list[str]:
        """The names of the images in the row; empty while it is hidden."""
        return self.page.locator("#row:visible #row-images button").all_inner_texts()

    def shown_image(self) -> str:
        """The text of the image in the row that is shown."""
        return self.page.locator("#row-images [aria-current]").inner_text()

    def find(self, text: str) -> None:
        """Type a concept."""
        self.page.fill("#concept", text)
        self.page.press("#concept", "Enter")
        self.settle()

    def tool(self, name: str) -> None:
        """Choose a tool by its data-tool."""
        self.page.click(f"[data-tool={name}] >> visible=true")

    def tab(self, name: str) -> None:
        """Show a tab of the panel."""
        self.page.get_by_role("tab", name=name).click()
        self.settle()

    def place(self, x: float, y: float) -> tuple[float, float]:
        """A pixel's place on the page, in CSS pixels. x, y: its place in the image."""
        view = json.loads(self.page.get_attribute("#stage", "data-view") or "")
        frame = self.page.locator("#stage").bounding_box()
        assert frame is not None
        return frame["x"] + x * view["scale"] + view["x"], frame["y"] + y * view["scale"] + view["y"]

    def click(self, x: float, y: float, button: Any = "left") -> None:
        self.page.mouse.click(*self.place(x, y), button=button)
        self.settle()

    def drag(self, x0: float, y0: float, x1: float, y1: float) -> None:
        self.page.mouse.move(*self.place(x0, y0))
        self.page.mouse.down()
        self.page.mouse.move(*self.place((x0 + x1) / 2, (y0 + y1) / 2))
        self.page.mouse.move(*self.place(x1, y1))
        self.page.mouse.up()
        self.settle()

    def keys(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)
        self.settle()

    def prompts(self) -> dict[str, int]:
        """The rows of the prompt list: the number of instances by the row's text."""
        rows = self.page.locator("#prompts > li").all()
        return {
            row.locator(".prompt-text").inner_text(): int(row.locator(".count").inner_text()) for row in rows
        }

    def instances(self) -> list[str]:
        return self.page.locator("#instances .instance-label").all_inner_texts()

    def areas(self) -> list[int]:
        """Areas of the listed instances, in pixels."""
        texts = self.page.locator("#instances .area").all_inner_texts()
        return [int(text.removesuffix(" px").replace(",", "")) for text in texts]

    def threshold(self, text: str, value: float) -> None:
        """Move a concept's slider."""
        slider = self.page.get_by_label(f"Confidence for {text}")
        slider.evaluate(
            "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')); }",
            str(value),
        )
        self.settle()

    def notice(self) -> str:
        """The notice's text; empty when none is shown."""
        notice = self.page.locator("#notice")
        return self.page.locator("#notice-text").inner_text() if notice.is_visible() else ""

    def wait_for_notice(self, text: str) -> None:
        self.page.get_by_role("alert").get_by_text(text).wait_for()

    def colour_at(self, x: float, y: float) -> tuple[int, int, int]:
        """The colour that the page shows at a pixel of the image: red, green, blue, 0 to 255."""
        return self.colour_on_page(*self.place(x, y))

    def colour_on_page(self, left: float, top: float) -> tuple[int, int, int]:
        """The colour at a place on the page, in CSS pixels: red, green, blue, 0 to 255."""
        with Image.open(io.BytesIO(self.page.screenshot())) as picture:
            red, green, blue = np.asarray(picture.convert("RGB"))[round(top), round(left)]
        return int(red), int(green), int(blue)

    def saved(self, button: str, folder: Path) -> Path:
        """Press an export button; the file that it saves."""
        with self.page.expect_download() as waiting:
            self.page.get_by_role("button", name=button).click()
        download: Download = waiting.value
        path = folder / download.suggested_filename
        download.save_as(path)
        return path

    def module(self, name: str, script: str, argument: Any = None) -> Any:
        """Run a function with one of the page's modules: `(module, argument) => ...`."""
        assets = self.page.evaluate("document.documentElement.dataset.assets")
        code = f"async (argument) => ({script})(await import('{assets}/{name}'), argument)"
        return self.page.evaluate(code, argument)
