"""Labels in Label Studio by Chromium, as an annotator would."""

import re
import time
from pathlib import Path

from playwright.sync_api import Browser, Page

from tests.support.browser import WAIT_MS
from tests.support.label_studio_server import PERSON
from tests.support.scenes import HEIGHT, WIDTH

ANSWER = "interactive-annotating"
SMART = ".lsf-toolbar__group > .lsf-tool_smart"
"""The button Auto-Detect: a tool at a time of those that its tooltip lists; a click takes the next one."""

SCORE = re.compile(r"[01]\.\d\d")
"""A listed region of the model has its score beside it; a click has none."""


class Annotator:
    """One tab, signed in. Coordinates are pixels of the image."""

    def __init__(self, browser: Browser, url: str) -> None:
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        self.url = url
        self.page: Page = context.new_page()
        self.page.set_default_timeout(WAIT_MS)
        self.page.goto(f"{url}/user/login", wait_until="commit")
        for name, text in zip(("email", "password"), PERSON, strict=True):
            self.page.fill(f"input[name={name}]", text)
        self.page.press("input[name=password]", "Enter")
        self.page.wait_for_url(lambda now: "login" not in now, wait_until="commit")

    def open(self, project: int, task: int) -> None:
        """Open a task, and have suggestions made and accepted."""
        self.page.goto(f"{self.url}/projects/{project}/data?task={task}", wait_until="commit")
        self.page.get_by_text("Auto-Annotation").click()
        self.page.get_by_text("Auto-Accept Suggestions").click()

    def choose(self, number: int) -> None:
        """Choose a tool of Auto-Detect, by its place among them."""
        for _ in range(number):
            self.page.locator(SMART).click()

    def click(self, label: int, x: float, y: float) -> float:
        """Choose a label by its place, and click on the image; the seconds until the answer is among the regions."""
        self.page.locator(".lsf-label").nth(label - 1).click()
        regions = self.page.locator(".lsf-outliner-item").filter(has_text=SCORE)
        before = regions.count()
        frame = self.page.locator(".konvajs-content").first.bounding_box()
        assert frame is not None
        place = frame["x"] + frame["width"] * x / WIDTH, frame["y"] + frame["height"] * y / HEIGHT
        began = time.perf_counter()
        with self.page.expect_response(lambda response: ANSWER in response.url and response.ok):
            self.page.mouse.click(*place)
        regions.nth(before).wait_for()
        return time.perf_counter() - began

    def submit(self, picture: Path) -> None:
        """Take a picture, and submit the annotation."""
        self.page.mouse.move(0, 0)
        self.page.screenshot(path=picture)
        with self.page.expect_response(lambda response: "/annotations" in response.url and response.ok):
            self.page.get_by_test_id("bottombar-submit-button").click()
