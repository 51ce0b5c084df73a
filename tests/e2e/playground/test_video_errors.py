"""The video tab tells of each failure in words, and of a way on."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import requests
from playwright.sync_api import expect

from harness.waiting import wait_until
from serve_app.http.tenants import keyfile
from tests.contract.conftest import own_server
from tests.e2e.playground.conftest import Opener
from tests.e2e.playground.test_errors import expected, give_key
from tests.e2e.playground.test_video import sessions
from tests.support.browser import Held
from tests.support.clips import blue_at, clip, frame, picture, red_at
from tests.support.fake_video import FakeTracking, fake_video
from tests.support.patience import PATIENCE_S
from tests.support.video_files import write_video
from tests.support.video_tab import VideoTab


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("notes.mp4", b"these are just words\n" * 50, "video"),
        ("empty.mp4", b"", "the video is empty"),
        ("notes.txt", b"these are just words\n" * 50, "notes.txt cannot be shown"),
    ],
)
def test_a_file_that_is_no_video(tab: VideoTab, name: str, content: bytes, told: str) -> None:
    tab.choose({name: content})
    tab.playground.wait_for_notice(told)
    expect(tab.page.locator("#video-picker")).to_be_visible()
    expect(tab.page.locator("#track")).to_be_disabled()
    expected(tab.playground)
    tab.open(3)
    assert tab.playground.notice() == "", "the next one is opened"


def test_a_bad_file_leaves_the_open_video_as_it_was(tab: VideoTab) -> None:
    tab.open(5)
    tab.click(red_at(0))
    tab.choose({"notes.mp4": b"these are just words\n" * 50})
    tab.playground.wait_for_notice("video")
    expected(tab.playground)
    assert tab.objects() == {"Object 1": "0.90"}
    tab.track()
    assert tab.answered() == 5


def test_what_is_asked_while_another_video_opens_is_not_of_that_one(tab: VideoTab) -> None:
    tab.open(12)
    tab.click(red_at(0))
    held = Held(tab.page, "**/sam3/video/sessions")
    tab.choose({"second.mp4": clip(5)}, settle=False)
    held.wait()
    tab.page.mouse.click(*tab.place(*blue_at(0)))
    tab.page.get_by_role("button", name="Track", exact=True).click()
    tab.page.keyboard.press("Delete")
    held.let_go()
    tab.settle()
    assert tab.place_in_video() == "1 of 5"
    assert tab.answered() == 0
    assert tab.objects() == {}
    assert tab.playground.notice() == ""
    tab.click(red_at(0))
    tab.track()
    assert tab.answered() == 5
    assert tab.objects() == {"Object 1": "0.90"}


def test_a_picture_that_does_not_come_holds_up_no_other_video(tab: VideoTab) -> None:
    held = Held(tab.page, "**/playground/picture")
    tab.choose({"0.tif": b"II*\0", "1.tif": b"II*\0"}, settle=False)
    held.wait()
    tab.open(5)
    tab.click(red_at(0))
    assert tab.objects() == {"Object 1": "0.90"}
    held.let_go()
    expected(tab.playground)


def test_the_last_of_several_chosen_videos_is_opened(tab: VideoTab, video_url: str) -> None:
    held = Held(tab.page, "**/sam3/video/sessions")
    for frames in (4, 5, 6):
        tab.choose({f"{frames}.mp4": clip(frames)}, settle=False)
        held.wait()
    held.let_go()
    tab.settle()
    assert tab.place_in_video() == "1 of 6"
    wait_until(lambda: sessions(video_url) == 1)
    tab.click(red_at(0))
    tab.track()
    assert tab.answered() == 6


def test_a_frame_whose_picture_cannot_be_shown_is_empty(tab: VideoTab) -> None:
    tab.choose({"0.png": picture(0), "1.png": b"broken", "2.png": picture(2)})
    tab.keys("]")
    tab.playground.wait_for_notice("1.png cannot be shown")
    assert tab.place_in_video() == "2 of 3"
    tab.keys("]")
    assert tab.place_in_video() == "3 of 3"
    assert tab.colour_at(red_at(2))[0] > 180
    expected(tab.playground)


def test_an_error_while_tracking_keeps_what_came_and_goes_on(tab: VideoTab, tracking: FakeTracking) -> None:
    tab.open(16)
    tab.click(red_at(0))
    tab.keys("n")
    tab.click(blue_at(0))
    tracking.expires_at = 9
    tab.track()
    tab.playground.wait_for_notice("too long")
    assert tab.answered() == 9
    assert tab.place_in_video() == "9 of 16"
    tracking.expires_at = None
    tab.page.get_by_role("button", name="Try again").click()
    tab.settle()
    assert tab.playground.notice() == ""
    assert tab.answered() == 16
    assert tab.objects() == {"Object 1": "0.90", "Object 2": "0.90"}
    expected(tab.playground)


def test_a_prompt_that_fails_is_taken_back(tab: VideoTab, tracking: FakeTracking) -> None:
    tab.open(5)
    tracking.expired = True
    tab.click(red_at(0))
    tab.playground.wait_for_notice("too long")
    assert tab.objects() == {}
    tracking.expired = False
    tab.page.get_by_role("button", name="Try again").click()
    tab.settle()
    assert tab.objects() == {"Object 1": "0.90"}
    expected(tab.playground)


def test_a_session_that_is_gone_is_begun_anew(tab: VideoTab, video_url: str) -> None:
    tab.open(8)
    tab.find("red circle")
    tab.click(blue_at(0))
    end_all(video_url)
    tab.keys("n")
    tab.track()
    assert tab.answered() == 8
    end_all(video_url)
    tab.find("green star")
    assert tab.objects() == {"red circle 1": "0.90", "Object 2": "0.90"}
    expected(tab.playground)


def end_all(url: str) -> None:
    listed = requests.get(f"{url}/sam3/video/sessions", timeout=PATIENCE_S).json()["sessions"]
    assert listed
    for one in listed:
        requests.delete(f"{url}/sam3/video/sessions/{one['session_id']}", timeout=PATIENCE_S)


def test_too_large(open_page: Opener) -> None:
    with own_server(video=fake_video(), max_body_bytes=500) as url:
        tab = VideoTab(open_page(url))
        tab.choose({"clip.mp4": bytes(2000)})
        tab.playground.wait_for_notice("Too large: clip.mp4: the request body is larger than 500 bytes")
        tab.page.context.close()
    expected(tab.playground)


def test_a_codec_that_the_browser_does_not_know_is_followed_all_the_same(
    tab: VideoTab, tmp_path: Path
) -> None:
    pictures = [np.asarray(frame(number)) for number in range(6)]
    path = write_video(tmp_path / "old.avi", pictures, codec="mpeg4", options={"qscale": "2"})
    tab.choose({"old.avi": path.read_bytes()})
    tab.playground.wait_for_notice("This browser cannot show this file")
    assert tab.place_in_video() == "1 of 6"
    tab.find("red circle")
    tab.track()
    assert tab.objects() == {"red circle 1": "0.90"}
    inside, outside = tab.colour_at(red_at(5)), tab.colour_at((20, 20))
    assert inside != outside, "its mask is drawn on a plain ground"


def test_a_gif_alone_is_followed_through_its_frames(tab: VideoTab) -> None:
    """Browsers show it as an image, of which the tab would follow one frame."""
    first, *rest = [frame(number) for number in range(6)]
    content = BytesIO()
    first.save(content, "GIF", save_all=True, append_images=rest, duration=100)
    tab.choose({"clip.gif": content.getvalue()})
    tab.playground.wait_for_notice("This browser cannot show this file")
    assert tab.place_in_video() == "1 of 6"
    tab.find("red circle")
    tab.track()
    assert tab.answered() == 6


def test_a_key_is_asked_for(open_page: Opener, tmp_path: Path) -> None:
    key = keyfile.add(tmp_path / "keys.json", "acme")

    def sessions(url: str) -> int:
        headers = {"Authorization": f"Bearer {key}"}
        answer = requests.get(f"{url}/sam3/video/sessions", headers=headers, timeout=PATIENCE_S)
        return len(answer.json()["sessions"])

    with own_server(video=fake_video(), api_keys_file=tmp_path / "keys.json") as url:
        playground = open_page(url)
        tab = VideoTab(playground)
        tab.choose({"clip.mp4": write_video(tmp_path / "a.mp4", [np.asarray(frame(0))] * 4).read_bytes()})
        playground.wait_for_notice("This server asks for an API key.")
        give_key(playground, key)
        expect(tab.page.locator("#video-picker")).to_be_hidden()
        tab.settle()
        tab.click(red_at(0))
        tab.track()
        assert tab.answered() == 4
        assert sessions(url) == 1
        tab.page.get_by_role("tab", name="Images").click()
        wait_until(lambda: sessions(url) == 0)
        tab.page.context.close()
    expected(playground)
