"""The video tab: objects that are clicked and named are followed through files and pictures, under the same ids."""

import requests
from playwright.sync_api import expect

from harness.waiting import wait_until
from tests.e2e.playground.conftest import Opener
from tests.support.browser import Playground
from tests.support.clips import blue_at, clip, picture, red_at
from tests.support.fake_video import FakeTracking
from tests.support.patience import PATIENCE_S
from tests.support.video_tab import VideoTab

FRAMES = 12


def sessions(url: str) -> int:
    """Number of sessions that the server has."""
    return len(requests.get(f"{url}/sam3/video/sessions", timeout=PATIENCE_S).json()["sessions"])


def test_a_server_without_videos_has_no_such_tab(playground: Playground) -> None:
    expect(playground.page.locator("#modes")).to_be_hidden()
    expect(playground.page.locator("#video-panel")).to_be_hidden()


def test_clicked_and_named_objects_are_followed_to_the_end(tab: VideoTab) -> None:
    tab.open(FRAMES)
    tab.click(red_at(0))
    tab.find("blue square")
    assert tab.objects() == {"Object 1": "0.90", "blue square 2": "0.90"}
    tab.track()
    assert tab.place_in_video() == f"{FRAMES} of {FRAMES}", "the page shows the newest frame"
    assert tab.answered() == FRAMES
    for frame in (0, 5, FRAMES - 1):
        tab.look(frame)
        assert tab.objects() == {"Object 1": "0.90", "blue square 2": "0.90"}, "ids stay"
    assert tab.requests == ["POST", "POST prompts", "POST prompts", "POST propagate?from=1"]


def test_the_masks_lie_on_the_frame_that_is_shown(tab: VideoTab) -> None:
    """Also after jumps: the browser shows the frame that the server has answered."""
    tab.open(FRAMES)
    tab.click(red_at(0))
    tab.track()
    for frame in (FRAMES - 1, 0, 7, 3):
        tab.look(frame)
        inside = red_at(frame)[0] + 15, red_at(frame)[1]  # beside the click
        masked = tab.colour_at(inside)
        tab.keys("m")
        red, green, blue = tab.colour_at(inside)
        assert red > 180 > 90 > max(green, blue), "the picture is of this frame"
        assert masked != (red, green, blue), "a mask lies on it"
        left = red_at(frame)[0] - 34, red_at(frame)[1]
        assert min(tab.colour_at(left)) > 180, "the circle has left this place, or has yet to reach it"
        tab.keys("m")


def test_a_correction_goes_on_from_its_frame_under_the_same_ids(tab: VideoTab, video_url: str) -> None:
    tab.open(FRAMES)
    tab.find("red circle")
    tab.click(blue_at(0))
    tab.track()
    tab.look(6)
    tab.requests.clear()
    tab.click(blue_at(6))
    assert tab.answered() == 7, "what was answered about later frames is gone"
    assert tab.requests == ["DELETE", "POST", "POST prompts", "POST prompts"]
    assert sessions(video_url) == 1
    assert tab.objects() == {"red circle 1": "0.90", "Object 2": "0.90"}
    tab.track()
    assert tab.answered() == FRAMES
    assert tab.objects() == {"red circle 1": "0.90", "Object 2": "0.90"}
    assert tab.requests[4:] == ["POST propagate?from=7"], "the same session goes on"


def test_a_click_in_the_frame_that_came_last_needs_no_other_session(
    tab: VideoTab, tracking: FakeTracking
) -> None:
    tab.open(FRAMES)
    tab.click(red_at(0))
    tab.click(blue_at(0), button="right")
    job = tracking.jobs[-1]
    (prompt,) = job.frames[0].prompts.objects
    assert prompt.object_id == 1
    assert prompt.prompt is not None
    assert [point.positive for point in prompt.prompt.points] == [True, False], "all clicks of the frame"
    assert tab.requests == ["POST", "POST prompts", "POST prompts"]


def test_frames_in_between_are_followed_before_a_later_click(tab: VideoTab) -> None:
    tab.open(FRAMES)
    tab.click(red_at(0))
    tab.look(8)
    assert tab.objects() == {"Object 1": "not here"}
    tab.keys("n")
    tab.click(blue_at(8))
    assert tab.objects() == {"Object 1": "0.90", "Object 2": "0.90"}
    assert tab.answered() == 9


def test_later_prompts_count_when_an_earlier_frame_gets_one(tab: VideoTab) -> None:
    tab.open(FRAMES)
    tab.look(5)
    tab.click(red_at(5))
    tab.look(2)
    tab.keys("n")
    tab.click(blue_at(2))
    assert tab.answered() == 1
    tab.track()
    assert tab.objects() == {"Object 1": "0.90", "Object 2": "0.90"}
    tab.look(4)
    assert tab.objects() == {"Object 1": "not here", "Object 2": "0.90"}
    tab.look(5)
    assert tab.objects() == {"Object 1": "0.90", "Object 2": "0.90"}


def test_stop_keeps_what_came_and_a_click_goes_on_from_there(tab: VideoTab, tracking: FakeTracking) -> None:
    tab.open(40)
    tab.click(red_at(0))
    tracking.slow_at = 12
    tab.page.keyboard.press("t")
    expect(tab.page.locator("#frame-place")).to_have_text("9 of 40")
    tab.page.get_by_role("button", name="Stop").click()
    tab.settle()
    before = tab.answered()
    assert before == 9, "whole answers"
    tracking.slow_at = None
    tab.keys("n")
    tab.click(blue_at(8))
    assert tab.objects() == {"Object 1": "0.90", "Object 2": "0.90"}
    tab.track()
    assert tab.answered() == 40


def test_pictures_are_frames_in_the_order_of_their_numbers(tab: VideoTab, tracking: FakeTracking) -> None:
    tab.choose({f"frame{number}.png": picture(number) for number in (10, 9, 11, 8)})
    assert tab.place_in_video() == "1 of 4"
    tab.look(1)
    tab.click(red_at(9))
    tab.track()
    assert tab.objects() == {"Object 1": "0.90"}
    assert tab.answered() == 3
    assert tab.requests == ["POST", "POST frames", "POST frames", "POST frames"]
    tab.look(2)
    tab.click(red_at(10))
    assert tab.answered() == 2, "a correction goes back in pictures too"
    tab.track()
    assert tab.objects() == {"Object 1": "0.90"}


def test_removal_undo_and_hiding(tab: VideoTab, tracking: FakeTracking) -> None:
    tab.open(FRAMES)
    tab.click(red_at(0))
    tab.keys("n")
    tab.click(blue_at(0))
    tab.keys("Delete")
    assert tab.objects() == {"Object 1": "0.90"}
    assert tracking.jobs[-1].frames[0].prompts.objects[0].prompt is None, "the server follows it no longer"
    tab.keys("Control+z")
    assert tab.objects() == {"Object 1": "0.90", "Object 2": "0.90"}
    tab.page.get_by_role("button", name="Hide Object 2").click()
    tab.settle()
    assert tab.colour_at(blue_at(0))[2] > 180, "no mask is drawn"
    tab.page.get_by_role("button", name="Show Object 2").click()
    tab.track()
    assert tab.objects() == {"Object 1": "0.90", "Object 2": "0.90"}, "what was undone is followed again"
    assert tab.answered() == FRAMES


def test_a_concept_is_followed_no_longer(tab: VideoTab) -> None:
    tab.open(FRAMES)
    tab.find("red circle, blue square")
    tab.page.get_by_role("button", name="Remove blue square", exact=True).click()
    tab.settle()
    assert tab.objects() == {"red circle 1": "0.90"}
    tab.track()
    assert tab.objects() == {"red circle 1": "0.90"}


def test_a_removed_object_of_a_concept_does_not_come_back(tab: VideoTab) -> None:
    tab.open(FRAMES)
    tab.find("red circle, blue square")
    tab.page.get_by_role("button", name="Remove blue square 2").click()
    tab.track()
    tab.look(4)
    tab.page.get_by_role("button", name="red circle 1, confidence").click()
    tab.click(red_at(4))
    tab.track()
    assert tab.objects() == {"red circle 1": "0.90"}


def test_a_concept_that_is_not_there_is_told(tab: VideoTab) -> None:
    tab.open(FRAMES)
    tab.find("green star")
    tab.playground.wait_for_notice("No green star is found in this frame.")
    assert tab.objects() == {}


def test_boxes_and_the_keyboard(tab: VideoTab) -> None:
    tab.open(FRAMES)
    tab.keys("b")
    x, y = blue_at(0)
    tab.page.mouse.move(*tab.place(x - 34, y - 34))
    tab.page.mouse.down()
    tab.page.mouse.move(*tab.place(x, y))
    tab.page.mouse.move(*tab.place(x + 34, y + 34))
    tab.page.mouse.up()
    tab.settle()
    assert tab.objects() == {"Object 1": "0.90"}
    tab.keys("]", "]", "[")
    assert tab.place_in_video() == f"2 of {FRAMES}"
    tab.keys("c", "n", "/")
    tab.page.keyboard.type("red circle")
    tab.keys("Enter")
    assert tab.objects() == {"Object 1": "0.90", "red circle 2": "0.90"}
    tab.keys("Escape", "t")
    assert tab.answered() == FRAMES


def test_nothing_to_follow_is_told(tab: VideoTab) -> None:
    tab.open(FRAMES)
    tab.track()
    tab.playground.wait_for_notice("Click on an object first, or name a concept to follow.")
    tab.click(red_at(0), button="right")
    tab.playground.wait_for_notice("Click on an object first: its area can then be removed.")
    assert tab.requests == ["POST"]


def test_the_session_ends_when_the_tab_is_left_and_the_work_goes_on(tab: VideoTab, video_url: str) -> None:
    tab.open(FRAMES)
    tab.click(red_at(0))
    assert sessions(video_url) == 1
    tab.page.get_by_role("tab", name="Images").click()
    wait_until(lambda: sessions(video_url) == 0)
    expect(tab.page.locator("#picker")).to_be_visible()
    tab.page.get_by_role("tab", name="Video").click()
    assert tab.objects() == {"Object 1": "0.90"}
    tab.track()
    assert tab.objects() == {"Object 1": "0.90"}
    assert tab.answered() == FRAMES
    assert sessions(video_url) == 1
    tab.page.goto("about:blank")
    wait_until(lambda: sessions(video_url) == 0)


def test_another_video_takes_the_place_of_the_first(tab: VideoTab, video_url: str) -> None:
    tab.open(FRAMES)
    tab.click(red_at(0))
    tab.page.get_by_role("button", name="Open a video").click()
    tab.choose({"other.mp4": clip(5)})
    assert tab.place_in_video() == "1 of 5"
    assert tab.objects() == {}
    assert sessions(video_url) == 1


def test_a_dropped_video_brings_its_tab(video_url: str, open_page: Opener) -> None:
    page = open_page(video_url).page
    transfer = page.evaluate_handle(
        """(bytes) => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], "clip.mp4", { type: "video/mp4" }));
            return transfer;
        }""",
        list(clip(3)),
    )
    page.dispatch_event("#area", "drop", {"dataTransfer": transfer})
    expect(page.locator("#frame-place")).to_have_text("1 of 3")
    expect(page.get_by_role("tab", name="Video")).to_have_attribute("aria-selected", "true")
