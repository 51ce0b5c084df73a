"""Drives the playground's video tab as a person would. Coordinates are pixels of the frame."""

import json
from collections.abc import Mapping
from typing import Any

from playwright.sync_api import FilePayload, Page, Request, expect

from tests.support.browser import Playground
from tests.support.clips import clip


class VideoTab:
    """The tab of a page, shown."""

    def __init__(self, playground: Playground) -> None:
        self.playground = playground
        self.page: Page = playground.page
        self.requests: list[str] = []
        """What the page has asked of video sessions, such as `POST prompts`; a session's own routes without its id."""
        self.page.on("request", self._note)
        self.page.get_by_role("tab", name="Video").click()

    def forget(self) -> None:
        """Listen to the page no longer."""
        self.page.remove_listener("request", self._note)

    def _note(self, request: Request) -> None:
        _, found, rest = request.url.partition("/sam3/video/sessions")
        if found:
            self.requests.append(f"{request.method} {rest.partition('/')[2].partition('/')[2]}".strip())

    def settle(self) -> None:
        """Wait until everything that was asked for is answered and drawn."""
        self.page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        self.page.wait_for_selector("body[data-video=idle]")

    def choose(self, files: Mapping[str, bytes], *, settle: bool = True) -> None:
        """Choose files, by their names."""
        chosen = [FilePayload(name=name, mimeType="", buffer=content) for name, content in files.items()]
        self.page.set_input_files("#video-file", chosen)
        if settle:
            self.settle()

    def open(self, frames: int = 12) -> None:
        """Open a drawn clip of so many frames."""
        self.choose({"clip.mp4": clip(frames)})
        expect(self.page.locator("#video-picker")).to_be_hidden()
        assert self.place_in_video() == f"1 of {frames}"

    def place_in_video(self) -> str:
        """`3 of 12`: the frame that is looked at, from 1."""
        return self.page.locator("#frame-place").inner_text()

    def look(self, frame: int) -> None:
        """Move the scrubber. frame: from 0."""
        self.page.locator("#scrubber").fill(str(frame))
        self.settle()

    def place(self, x: float, y: float) -> tuple[float, float]:
        """A pixel's place on the page."""
        view = json.loads(self.page.get_attribute("#video-stage", "data-view") or "")
        frame = self.page.locator("#video-stage").bounding_box()
        assert frame is not None
        return frame["x"] + x * view["scale"] + view["x"], frame["y"] + y * view["scale"] + view["y"]

    def click(self, at: tuple[float, float], button: Any = "left") -> None:
        self.page.mouse.click(*self.place(*at), button=button)
        self.settle()

    def find(self, text: str) -> None:
        self.page.fill("#video-concept", text)
        self.page.press("#video-concept", "Enter")
        self.settle()

    def track(self) -> None:
        """Press Track, and wait for the end."""
        self.page.get_by_role("button", name="Track", exact=True).click()
        self.settle()

    def keys(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)
        self.settle()

    def objects(self) -> dict[str, str]:
        """The rows of the objects' list: confidence in the frame that is shown, or `not here`, by name."""
        rows = self.page.locator("#video-objects > li").all()
        return {
            row.locator(".instance-label").inner_text(): row.locator(".state").inner_text() for row in rows
        }

    def answered(self) -> int:
        """Number of frames with answers."""
        text = self.page.locator("#video-tracked").inner_text()
        return int(text.split()[0]) if text else 0

    def colour_at(self, at: tuple[float, float]) -> tuple[int, int, int]:
        """The colour that the page shows at a pixel of the frame: red, green, blue, 0 to 255."""
        return self.playground.colour_on_page(*self.place(*at))
