"""Pages of other origins in a real browser, against a server on the same desk that needs no keys."""

import http.server
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page

from serve_app.http.app import create_app
from serve_app.settings import Settings
from tests.support.browser import EVIL
from tests.support.fake_segmenter import FakeSegmenter
from tests.support.http_server import serving
from tests.support.scenes import as_json, encoded, scene

IMAGE = as_json(encoded(scene()))
POST = """async ([url, body, type]) => {
  const headers = type ? {"Content-Type": type} : {};
  const options = {method: "POST", mode: "no-cors", headers, body: new Blob([body])};
  await fetch(url, options).catch(() => null);
}"""
READ = "(url) => fetch(url).then((answer) => answer.text()).catch(() => null)"
FORM = """([url, body]) => {
  const form = document.createElement("form");
  const part = document.createElement("input");
  Object.assign(form, {method: "POST", action: url, enctype: "multipart/form-data"});
  Object.assign(part, {type: "hidden", name: "request", value: body});
  form.append(part);
  document.body.append(form);
  form.submit();
}"""


class Site(http.server.BaseHTTPRequestHandler):
    """An empty page."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>page</title><body></body>")

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """Another site, as the browser sees it."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://{EVIL}:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context()
    yield context.new_page()
    context.close()


Served = tuple[str, FakeSegmenter]


@pytest.fixture
def served() -> Iterator[Served]:
    segmenter = FakeSegmenter()
    with serving(create_app(segmenter, Settings())) as url:
        yield url, segmenter


@pytest.mark.parametrize("kind", ["", "text/plain", "application/json"])
def test_a_page_of_another_site_makes_the_server_do_nothing(
    page: Page, site: str, served: Served, kind: str
) -> None:
    url, segmenter = served
    page.goto(site)
    body = f'{{"image": {{"type": "base64", "value": "{IMAGE["value"]}"}}}}'
    page.evaluate(POST, [f"{url}/sam3/embed_image", body, kind])
    assert page.evaluate(READ, f"{url}/info") is None, "it cannot read either"
    assert segmenter.asked == []


def test_a_form_of_another_site_is_refused(page: Page, site: str, served: Served) -> None:
    url, segmenter = served
    page.goto(site)
    with page.expect_navigation() as sent:
        page.evaluate(FORM, [f"{url}/sam3/embed_image", '{"image_id": "x"}'])
    assert sent.value is not None
    assert sent.value.status == 403
    assert segmenter.asked == []


def test_a_name_that_is_made_to_resolve_to_loopback_reads_nothing(page: Page, served: Served) -> None:
    url, _ = served
    answer = page.goto(f"http://{EVIL}:{urlsplit(url).port}/info")
    assert answer is not None
    assert answer.status == 403
    assert "sam3-serve" not in page.content()


def test_the_servers_own_page_works(page: Page, served: Served) -> None:
    url, segmenter = served
    page.goto(url)
    post = """async ([url, image]) => {
      const headers = {"Content-Type": "application/json"};
      return (await fetch(url, {method: "POST", headers, body: JSON.stringify({image})})).status;
    }"""
    assert page.evaluate(post, [f"{url}/sam3/embed_image", IMAGE]) == 200
    assert segmenter.asked


def test_the_documentation_works_under_its_policy(page: Page, served: Served) -> None:
    url, _ = served
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{url}/docs")
    route = page.locator("#operations-Server-info_info_get")
    route.locator("button").first.click()
    route.get_by_role("button", name="Execute").click()
    route.locator(".live-responses-table").get_by_text("sam3-serve", exact=False).first.wait_for()
    assert complaints == []
