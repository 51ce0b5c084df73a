"""Video files over HTTP: a session with a file, and its frames as a stream."""

import base64
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.contract.conftest import Client, ServerFactory
from tests.support.clips import clip, picture, red_at
from tests.support.fake_video import FakeTracking, fake_video
from tests.support.patience import PATIENCE_S
from tests.support.scenes import HEIGHT, WIDTH, as_json
from tests.support.video_files import numbered, write_video

SESSIONS = "/sam3/video/sessions"
FRAMES = 11
RED = [{"text": "red circle"}]


@pytest.fixture(scope="module")
def film() -> bytes:
    return clip(FRAMES)


@pytest.fixture
def tracking() -> FakeTracking:
    return FakeTracking()


@pytest.fixture
def own(start_server: ServerFactory, tracking: FakeTracking) -> Iterator[Client]:
    with start_server(video=fake_video(tracking)) as url:
        yield Client(url)


def begin(client: Client, film: bytes, **fields: Any) -> dict[str, Any]:
    body = {"video": as_json(film), "texts": RED, "every": 1, **fields}
    return dict(client.post(SESSIONS, body))


def stream(client: Client, session: str, **query: Any) -> list[dict[str, Any]]:
    answer = client.send(f"{SESSIONS}/{session}/propagate", {}, params=query)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].startswith("application/x-ndjson")
    return [json.loads(line) for line in answer.text.splitlines()]


def refused(client: Client, session: str, expect: int, **query: Any) -> dict[str, Any]:
    answer = client.send(f"{SESSIONS}/{session}/propagate", {}, params=query)
    assert answer.status_code == expect, answer.text
    return dict(answer.json())


def test_a_file_is_followed_frame_by_frame_to_its_end(client: Client, film: bytes) -> None:
    session = begin(client, film)
    assert (session["video"]["width"], session["video"]["height"]) == (WIDTH, HEIGHT)
    assert session["video"]["frames_per_second"] == pytest.approx(10)
    *frames, last = stream(client, session["session_id"])
    assert [one["frame"] for one in frames] == list(range(FRAMES))
    assert last == {"done": {"next_frame": FRAMES}}
    for number, found in enumerate(frames):
        (shown,) = found["objects"]
        box = shown["box"]
        assert (shown["id"], shown["masks"]["size"]) == (1, [HEIGHT, WIDTH])
        centre = (box["x0"] + box["x1"]) / 2, (box["y0"] + box["y1"]) / 2
        assert centre == pytest.approx(red_at(number), abs=8)


def test_a_file_may_be_a_part_of_a_form(client: Client, film: bytes) -> None:
    parts: dict[str, Any] = {
        "video": ("clip.mp4", film, "video/mp4"),
        "request": ("", json.dumps({"texts": RED}), "application/json"),
    }
    answer = requests.post(client.url + SESSIONS, files=parts, timeout=PATIENCE_S)
    assert answer.status_code == 200, answer.text
    assert answer.json()["texts"][0]["text"] == "red circle"
    assert len(stream(client, answer.json()["session_id"], to=2)) == 4


def test_a_stream_goes_on_by_the_number_after_the_last_frame_that_came(client: Client, film: bytes) -> None:
    session = begin(client, film)["session_id"]
    first = stream(client, session, to=5)
    assert [one["frame"] for one in first[:-1]] == list(range(6))
    assert first[-1] == {"done": {"next_frame": 6}}
    again = stream(client, session, **{"from": 3})
    assert [one["frame"] for one in again[:-1]] == list(range(3, FRAMES))
    assert again[:3] == first[3:6], "what was answered already is answered as before"


def test_a_frame_that_was_answered_is_not_answered_again_in_another_format(
    client: Client, film: bytes
) -> None:
    session = begin(client, film)["session_id"]
    stream(client, session, to=3, format="polygon")
    assert "format" in refused(client, session, 409, **{"from": 2})["message"]
    (*again, _) = stream(client, session, **{"from": 2, "to": 3}, format="polygon")
    assert [one["objects"][0]["format"] for one in again] == ["polygon"] * 2


def test_a_stream_at_the_end_of_the_file_says_that_it_is_done(client: Client, film: bytes) -> None:
    session = begin(client, film)["session_id"]
    stream(client, session)
    assert stream(client, session) == [{"done": {"next_frame": FRAMES}}]
    assert stream(client, session, to=FRAMES - 2) == [{"done": {"next_frame": FRAMES}}]


def test_events_carry_the_frames_number_as_their_id(client: Client, film: bytes) -> None:
    session = begin(client, film)["session_id"]
    headers = {"Accept": "text/event-stream"}
    answer = client.send(f"{SESSIONS}/{session}/propagate", {}, params={"to": 1}, headers=headers)
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    events = [event.split("\n") for event in answer.text.strip().split("\n\n")]
    assert [event[0] for event in events] == ["id: 0", "id: 1", "event: done"]
    assert events[1][1] == "event: frame"
    assert json.loads(events[1][2].removeprefix("data: "))["frame"] == 1
    assert json.loads(events[2][1].removeprefix("data: ")) == {"done": {"next_frame": 2}}


def test_a_frame_that_is_not_next_is_refused(client: Client, film: bytes) -> None:
    session = begin(client, film)["session_id"]
    assert refused(client, session, 409, **{"from": 4})["expected_frame"] == 0
    for query in ({"from": -1}, {"from": "x"}, {"to": 1.5}):
        assert refused(client, session, 422, **query)["detail"][0]["loc"][0] == "query"
    refused(client, session, 400, format="binary")
    assert refused(client, "0" * 32, 404)["message"]


def test_a_session_with_a_file_takes_no_other_frames(client: Client, film: bytes) -> None:
    session = begin(client, film)["session_id"]
    refused = client.post(f"{SESSIONS}/{session}/frames", {"image": as_json(picture(0))}, 409)
    assert ".../propagate" in refused["message"]


def test_a_session_without_a_file_has_nothing_to_propagate(client: Client) -> None:
    session = client.post(SESSIONS, {"texts": RED})["session_id"]
    assert ".../frames" in refused(client, session, 409)["message"]


@pytest.mark.parametrize("content", [b"no video at all", picture(0), b"#EXTM3U\nhttp://example.com/x.ts\n"])
def test_what_is_no_video_is_400(client: Client, content: bytes) -> None:
    assert client.post(SESSIONS, {"video": as_json(content)}, 400)["message"]


def test_a_file_that_is_empty_or_of_another_type_is_refused(client: Client) -> None:
    for video in (
        {"type": "base64", "value": ""},
        {"type": "base64", "value": None},
        {"type": "base64", "value": "%%%"},
        {"type": "file", "value": "/etc/passwd"},
        {"type": "url", "value": "http://127.0.0.1/clip.mp4"},
        {"type": "url", "value": "not a url"},
    ):
        message = client.post(SESSIONS, {"video": video}, 400)["message"]
        assert "image" not in message
    client.post(SESSIONS, {"video": "text"}, 422)


def test_a_file_that_is_too_long_or_too_large_is_413(start_server: ServerFactory, film: bytes) -> None:
    with start_server(video_bytes=len(film) - 1) as url:
        assert "larger" in Client(url).post(SESSIONS, {"video": as_json(film)}, 413)["message"]
    with start_server() as url:
        message = Client(url).post(SESSIONS, {"video": as_json(clip(101))}, 413)["message"]
        assert "101 frames" in message


def test_of_a_cut_file_what_can_be_decoded_is_answered_and_the_end_tells(
    client: Client, tmp_path: Path
) -> None:
    whole = write_video(tmp_path / "whole.mp4", numbered(60), movflags="faststart").read_bytes()
    session = begin(client, whole[: len(whole) * 3 // 4])["session_id"]
    stream(client, session, to=3)
    *frames, last = stream(client, session)
    assert 4 + len(frames) < 60
    assert last["done"]["next_frame"] == frames[-1]["frame"] + 1
    assert "frames may be missing" in last["done"]["warnings"][0]


def test_a_data_url_is_the_file_that_it_holds(client: Client, film: bytes) -> None:
    url = f"data:video/mp4;base64,{base64.b64encode(film).decode()}"
    session = client.post(SESSIONS, {"video": {"type": "url", "value": url}, "texts": RED})
    assert session["video"]["width"] == WIDTH


def test_prompts_begin_a_file_at_the_frame_that_they_are_about(own: Client, film: bytes) -> None:
    session = begin(own, film, texts=None)["session_id"]
    x, y = red_at(4)
    click = {"prompts": [{"points": [{"x": x, "y": y}]}], "frame": 4}
    assert own.post(f"{SESSIONS}/{session}/prompts", click)["frame"] == 4
    *frames, _ = stream(own, session)
    assert [one["frame"] for one in frames] == list(range(5, FRAMES))
    assert {one["id"] for found in frames for one in found["objects"]} == {1}
    own.post(f"{SESSIONS}/{session}/prompts", {**click, "frame": 2}, 409)


def test_prompts_correct_the_last_frame_of_a_file(own: Client, film: bytes) -> None:
    session = begin(own, film)["session_id"]
    stream(own, session, to=3)
    removal = {"prompts": [{"object_id": 1, "remove": True}]}
    assert own.post(f"{SESSIONS}/{session}/prompts", removal)["frame"] == 3
    *frames, _ = stream(own, session, to=5)
    assert [one["id"] for found in frames for one in found["objects"]] == [2, 2]
    own.post(f"{SESSIONS}/{session}/prompts", {"texts": RED, "frame": 99}, 409)


def test_a_frame_of_a_variable_rate_has_the_files_time(own: Client, tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.5, 0.54, 2.0]
    path = write_video(tmp_path / "variable.mp4", numbered(len(times), HEIGHT, WIDTH), times=times)
    session = begin(own, path.read_bytes())["session_id"]
    *first, _ = stream(own, session, to=2)
    click = {"points": [{"x": 9, "y": 9}]}
    prompted = own.post(f"{SESSIONS}/{session}/prompts", {"prompts": [click]})
    assert (prompted["frame"], prompted["seconds"]) == (2, pytest.approx(0.5, abs=2e-3)), (
        "also of the kept picture"
    )
    *rest, _ = stream(own, session)
    assert [one["seconds"] for one in [*first, *rest]] == pytest.approx(times, abs=2e-3)


def test_frames_that_come_one_by_one_have_no_time(own: Client) -> None:
    session = own.post(SESSIONS, {"texts": RED})["session_id"]
    (found,) = own.post(f"{SESSIONS}/{session}/frames", {"image": as_json(picture(0))})["frames"]
    assert found["seconds"] is None


def test_an_error_after_the_first_frames_is_told_in_the_stream(
    own: Client, film: bytes, tracking: FakeTracking
) -> None:
    session = begin(own, film)["session_id"]
    tracking.expires_at = 8
    *frames, last = stream(own, session)
    assert [one["frame"] for one in frames] == list(range(8))
    assert (last["error"]["status"], last["error"]["next_frame"]) == (504, 8)
    tracking.expires_at = None
    assert stream(own, session)[-1] == {"done": {"next_frame": FRAMES}}


def test_a_stream_waits_for_its_turn_between_its_frames(start_server: ServerFactory, film: bytes) -> None:
    tracking = FakeTracking(slow_s=0.02)
    with start_server(
        video=fake_video(tracking), max_in_flight=1, max_wait_s=0.01, retry_after_s=0.02
    ) as url:
        client = Client(url)
        sessions = [begin(client, film)["session_id"] for _ in range(3)]
        with ThreadPoolExecutor(3) as threads:
            streams = list(threads.map(lambda session: stream(client, session), sessions))
    assert [one[-1] for one in streams] == [{"done": {"next_frame": FRAMES}}] * 3
