"""Ways to an image: choose, drop, paste, link, sample."""

import base64
from collections.abc import Iterator

import pytest
from PIL import Image
from playwright.sync_api import Route

from harness.waiting import wait_until
from serve_app.http.app import create_app
from serve_app.http.reading.digest import content_digest_off_loop
from serve_app.http.reading.fetch import Access, ImageFetcher
from serve_app.http.reading.url_cache import FetchedImage
from serve_app.settings import Settings
from tests.e2e.playground.conftest import UNTIL_CANCELLED_S, Opener
from tests.e2e.playground.test_errors import expected
from tests.support.browser import Playground
from tests.support.fake_segmenter import FakeSegmenter
from tests.support.http_server import serving
from tests.support.scenes import CIRCLE, HEIGHT, WIDTH, encoded, ring, scene

ORIENTATION = 0x0112
LINK = "https://images.example/folder/scene%20one.png"
TRANSFER = """([kind, content, type]) => {
    const transfer = new DataTransfer();
    const bytes = Uint8Array.from(atob(content), (one) => one.charCodeAt(0));
    transfer.items.add(new File([bytes], "shared.png", { type }));
    const event = kind === "paste"
        ? new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true })
        : new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true });
    document.activeElement.dispatchEvent(event);
}"""


def share(playground: Playground, kind: str, content: bytes, media_type: str = "image/png") -> None:
    playground.page.evaluate(TRANSFER, [kind, base64.b64encode(content).decode(), media_type])


@pytest.mark.parametrize("kind", ["paste", "drop"])
def test_paste_and_drop(playground: Playground, kind: str) -> None:
    share(playground, kind, encoded(scene()))
    playground.page.wait_for_selector("#picker", state="hidden")
    playground.find("red circle")
    assert playground.prompts() == {"red circle": 2}


def test_an_image_is_pasted_while_the_focus_is_in_a_text_field(playground: Playground) -> None:
    playground.page.locator("#concept").focus()
    share(playground, "paste", encoded(scene()))
    playground.page.wait_for_selector("#picker", state="hidden")


def test_an_image_is_turned_upright(playground: Playground) -> None:
    """The page turns an image as the server does: a click is on the pixel that is seen."""
    turned = scene().transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # to be shown turned clockwise
    playground.load(encoded(turned, "JPEG", quality=95, exif=exif), "photo.jpg")
    x, y = (CIRCLE[0] + CIRCLE[2]) / 2, (CIRCLE[1] + CIRCLE[3]) / 2
    red, green, _ = playground.colour_at(x, y)
    assert red > 180 > 80 > green
    playground.click(x, y)
    assert playground.prompts() == {"Object 1 · 1 click": 1}


def test_dropping_something_else_is_told(playground: Playground) -> None:
    share(playground, "drop", b"text", "text/plain")
    playground.wait_for_notice("That is not an image.")


def test_an_image_that_the_browser_cannot_show_is_told(playground: Playground) -> None:
    playground.load(b"not an image", "broken.png")
    playground.wait_for_notice("broken.png cannot be shown: not an image")
    expected(playground)
    assert playground.page.is_visible("#picker")


@pytest.mark.parametrize("width", [WIDTH, 1])
def test_sizes(playground: Playground, width: int) -> None:
    playground.load(encoded(scene().resize((width, HEIGHT))))
    playground.find("red")
    assert playground.notice() == ""


def test_every_sample_is_there(playground: Playground) -> None:
    samples = playground.page.locator("#samples img")
    assert samples.count() == 6
    for sample in samples.all():
        assert sample.evaluate("(image) => image.decode().then(() => image.naturalWidth)") == 960


def test_only_the_last_of_two_images_counts(playground: Playground, fake: FakeSegmenter) -> None:
    playground.find("red")
    fake.delay_s = UNTIL_CANCELLED_S
    with playground.page.expect_event("requestfailed") as cancelled:
        playground.page.set_input_files(
            "#file", {"name": "a.png", "mimeType": "image/png", "buffer": encoded(scene())}
        )
        wait_until(lambda: bool(fake.asked))
        playground.page.wait_for_selector("#picker", state="hidden")
        fake.delay_s = 0
        playground.load(encoded(ring()), "b.png")
    assert cancelled.value.url.endswith("/sam3/embed_image")
    assert playground.prompts() == {"red": 1}


class Fetcher(ImageFetcher):
    """Stands for the server's way to the Internet."""

    async def fetch(self, tenant: str, url: str, access: Access | None = None) -> FetchedImage:
        assert url == LINK
        content = encoded(scene())
        return FetchedImage(content, await content_digest_off_loop(content))


@pytest.fixture
def linked(open_page: Opener) -> Iterator[Playground]:
    with serving(create_app(FakeSegmenter(), Settings(), fetcher=Fetcher(Settings()))) as url:
        playground = open_page(url)
        yield playground
        playground.page.context.close()


def test_a_link_whose_host_lets_pages_read_it(linked: Playground) -> None:
    headers = {"Access-Control-Allow-Origin": "*"}
    linked.page.route(
        LINK, lambda route: route.fulfill(body=encoded(scene()), content_type="image/png", headers=headers)
    )
    linked.page.fill("#link", LINK)
    linked.page.click("#link-form button")
    linked.page.wait_for_selector("#picker", state="hidden")
    linked.find("red circle")
    assert linked.prompts() == {"red circle": 2}
    with linked.page.expect_download() as download:
        linked.page.get_by_role("button", name="Overlay").click()
    assert download.value.suggested_filename == "scene one_overlay.png"
    linked.tab("Code")
    assert f'"value":"{LINK}"' in linked.page.locator("#code").inner_text()


def test_a_link_whose_host_does_not(linked: Playground) -> None:
    def answer(route: Route) -> None:
        if route.request.headers.get("origin"):
            route.abort()
        else:
            route.fulfill(body=encoded(scene()), content_type="image/png")

    linked.page.route(LINK, answer)
    linked.page.fill("#link", LINK)
    linked.page.click("#link-form button")
    linked.page.wait_for_selector("#picker", state="hidden")
    linked.find("red circle")
    assert linked.prompts() == {"red circle": 2}
    linked.page.get_by_role("button", name="Overlay").click()
    linked.wait_for_notice("the overlay cannot be saved")
    linked.complaints.clear()  # the refused try


def test_links_begin_with_https(playground: Playground) -> None:
    playground.page.fill("#link", "http://images.example/a.png")
    playground.page.click("#link-form button")
    playground.wait_for_notice("begins with https://")
