"""The page tells of each failure and of a way on, and cancels requests that are not needed any more."""

from pathlib import Path

from playwright.sync_api import expect

from deployments.protocol import Overloaded
from harness.waiting import wait_until
from serve_app.http.app import create_app
from serve_app.http.tenants import keyfile
from serve_app.settings import Settings
from tests.contract.conftest import own_server
from tests.e2e.playground.conftest import UNTIL_CANCELLED_S, Opener
from tests.support.browser import Playground
from tests.support.fake_segmenter import FakeSegmenter
from tests.support.http_server import serving


def expected(playground: Playground) -> None:
    """The browser notes failed requests in its console by itself: nothing else may be there."""
    assert [one for one in playground.complaints if "Failed to load resource" not in one] == []
    playground.complaints.clear()


def test_the_server_is_down(open_page: Opener) -> None:
    with own_server(FakeSegmenter()) as url:
        playground = open_page(url)
        playground.load()
    playground.find("red circle")
    playground.wait_for_notice("No answer from the server. Is it still running?")
    with serving(create_app(FakeSegmenter(), Settings()), port=int(url.rpartition(":")[2])):
        playground.page.get_by_role("button", name="Try again").click()
        expect(playground.page.locator("#instances > li")).to_have_count(2)
        assert playground.notice() == ""
        playground.page.context.close()
    expected(playground)


def test_the_image_is_sent_again_when_the_server_forgot_it(
    playground: Playground, fake: FakeSegmenter
) -> None:
    playground.load()
    fake.forget()
    playground.find("red circle")
    assert playground.prompts() == {"red circle": 2}
    assert playground.notice() == ""
    assert fake.encoded == 2
    expected(playground)


def test_an_internal_error(playground: Playground, fake: FakeSegmenter) -> None:
    playground.load()
    fake.error = RuntimeError("boom")
    playground.find("red circle")
    playground.wait_for_notice("Internal error.")
    fake.error = None
    playground.page.get_by_role("button", name="Try again").click()
    playground.settle()
    assert playground.prompts() == {"red circle": 2}
    expected(playground)


def test_a_short_overload_is_waited_for(playground: Playground, fake: FakeSegmenter) -> None:
    playground.load()
    fake.error, fake.failures = Overloaded(1.0), 1
    playground.find("red circle")
    assert playground.prompts() == {"red circle": 2}
    assert playground.notice() == ""
    expected(playground)


def test_too_large(open_page: Opener) -> None:
    with own_server(FakeSegmenter(), max_body_bytes=500) as url:
        playground = open_page(url)
        playground.load()
        playground.wait_for_notice("Too large: the request body is larger than 500 bytes")
        playground.page.context.close()
    expected(playground)


def test_a_key_is_asked_for_and_kept_for_the_session(open_page: Opener, tmp_path: Path) -> None:
    key = keyfile.add(tmp_path / "keys.json", "acme")
    with own_server(FakeSegmenter(), api_keys_file=tmp_path / "keys.json") as url:
        playground = open_page(url)
        assert playground.notice() == "This server asks for an API key."
        playground.load()
        playground.wait_for_notice("This server asks for an API key.")
        give_key(playground, "s3k_wrong")
        playground.wait_for_notice("The server does not accept this API key.")
        give_key(playground, key)
        playground.settle()
        playground.find("red circle")
        assert playground.prompts() == {"red circle": 2}
        assert key not in playground.page.content()
        stored = playground.page.evaluate("[JSON.stringify(localStorage), document.cookie, location.href]")
        assert key not in "".join(stored)
        playground.page.reload()
        playground.settle()
        playground.load()
        assert playground.notice() == ""
        other_tab = playground.page.context.new_page()
        other_tab.goto(url)
        assert other_tab.evaluate("sessionStorage.length") == 0
        playground.page.context.close()
    expected(playground)


def give_key(playground: Playground, key: str) -> None:
    playground.page.get_by_role("button", name="Enter key").click()
    playground.page.fill("#key-input", key)
    playground.page.click("#key-use")


def test_requests_that_nobody_waits_for_are_cancelled(playground: Playground, fake: FakeSegmenter) -> None:
    playground.load()
    fake.delay_s = UNTIL_CANCELLED_S
    playground.page.fill("#concept", "red")
    with playground.page.expect_request("**/concept_segment"):
        playground.page.press("#concept", "Enter")
    with playground.page.expect_event("requestfailed") as cancelled:
        playground.page.get_by_role("button", name="Remove red").click()
    assert cancelled.value.failure == "net::ERR_ABORTED"
    playground.settle()
    assert playground.prompts() == {}
    assert playground.notice() == ""


def test_a_late_answer_to_an_old_question_is_not_shown(playground: Playground, fake: FakeSegmenter) -> None:
    """The second click is asked while the first has no answer yet."""
    playground.load()
    fake.delay_s, before = UNTIL_CANCELLED_S, len(fake.asked)
    with playground.page.expect_event("requestfailed") as cancelled:
        playground.page.mouse.click(*playground.place(70, 80))
        wait_until(lambda: len(fake.asked) > before)
        fake.delay_s = 0
        playground.page.mouse.click(*playground.place(230, 70))  # no shape holds both
    assert cancelled.value.url.endswith("/visual_segment")
    playground.settle()
    assert playground.prompts() == {"Object 1 · 2 clicks": 0}
