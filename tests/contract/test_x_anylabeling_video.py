"""Videos of X-AnyLabeling, asked as its client asks (`services/auto_labeling/remote_server.py` of 4.2.1)."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image

from deployments.protocol import Overloaded
from serve_app.http.tenants import keyfile
from tests.contract.conftest import Client, own_server
from tests.support.clips import RADIUS, blue_at, picture, red_at
from tests.support.fake_video import FakeTracking, fake_video
from tests.support.memory_sessions import MemorySessions
from tests.support.patience import PATIENCE_S
from tests.support.scenes import HEIGHT, WIDTH, as_json, box_iou, encoded

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"  # pycocotools with numpy 2
)
MODEL = "segment_anything_3_video"
FRAMES = 6
PARAMS = {"conf_threshold": 0.25, "epsilon_factor": 0.001}
Shapes = list[dict[str, Any]]


def uri(content: bytes) -> str:
    return "data:image/png;base64," + as_json(content)["value"]


PICTURES = [uri(picture(number)) for number in range(FRAMES)]


@pytest.fixture
def tracking() -> FakeTracking:
    return FakeTracking()


@pytest.fixture
def sessions() -> MemorySessions:
    return MemorySessions()


@pytest.fixture
def url(tracking: FakeTracking, sessions: MemorySessions) -> Iterator[str]:
    video = fake_video(tracking, sessions)
    with own_server(video=video, tools="x-anylabeling", video_sessions=3) as address:
        yield address


def post(url: str, route: str, expect: int = 200, options: Any = None, **body: Any) -> Any:
    """`data` of the answer, or the refusal."""
    found = Client(url).post(f"/v1/video/{route}", {"model": MODEL, **body}, expect, **(options or {}))
    assert found["success"] is (expect == 200)
    return found["data"] if expect == 200 else found["error"]


def init(url: str, frames: list[str] = PICTURES, start: int = 0) -> str:
    data = post(url, "init", frames=frames, start_frame_index=start)
    assert (data["num_frames"], data["start_frame_index"]) == (len(frames), start)
    return str(data["session_id"])


def ask_text(url: str, session: str, text: str = "red circle", frame: int = 0, expect: int = 200) -> Any:
    return post(url, "prompt", expect, session_id=session, text_prompt=text, frame_index=frame, params=PARAMS)


def click(
    url: str, session: str, place: tuple[int, int], frame: int = 0, obj_id: int = 10000, expect: int = 200
) -> Any:
    x, y = place
    points = [[x / WIDTH, y / HEIGHT]]
    return post(
        url,
        "prompt",
        expect,
        session_id=session,
        frame_index=frame,
        points=points,
        point_labels=[1],
        obj_id=obj_id,
        params=PARAMS,
    )


def events(url: str, session: str, options: Any = None, **span: Any) -> list[dict[str, Any]]:
    body = {"model": MODEL, "session_id": session, **span}
    answer = Client(url).send("/v1/video/propagate/stream", body, **(options or {}))
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    lines = [line for line in answer.text.splitlines() if line and not line.startswith(":")]
    assert all(line.startswith("data: ") for line in lines)
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def results(url: str, session: str, **span: Any) -> dict[int, Shapes]:
    """The shapes by frame, as the program reads them."""
    started, *between, completed = events(url, session, **span)
    assert (started["type"], completed["type"]) == ("started", "completed")
    assert {one["type"] for one in between} == {"progress"}
    return {int(number): found["masks"] for number, found in completed["results"].items()}


def around(place: tuple[int, int]) -> list[int]:
    x, y = place
    return [x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS]


def at(shape: dict[str, Any], place: tuple[int, int]) -> bool:
    points = np.array(shape["points"])
    return box_iou([*points.min(axis=0), *points.max(axis=0)], around(place)) > 0.9


def until(done: Callable[[], Any]) -> Any:
    end = time.monotonic() + PATIENCE_S
    while not (found := done()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
    return found


def test_the_model_is_listed_where_videos_are_followed(url: str) -> None:
    models = requests.get(f"{url}/v1/models", timeout=PATIENCE_S).json()["data"]
    assert models[MODEL]["batch_processing_mode"] == "video"
    with own_server(tools="x-anylabeling", model="sam3") as other:
        assert MODEL not in requests.get(f"{other}/v1/models", timeout=PATIENCE_S).json()["data"]
        assert "switched off" in post(other, "init", 501, frames=PICTURES)["message"]


def test_the_model_finds_nothing_in_an_image_alone_and_replaces_nothing(url: str) -> None:
    answer = Client(url).post("/v1/predict", {"model": MODEL, "image": PICTURES[0]})
    assert answer["data"] == {"shapes": [], "description": "", "replace": False}


def test_phrases_are_followed_through_all_frames(url: str) -> None:
    session = init(url)
    data = ask_text(url, session, "red circle, blue square")
    assert (data["frame_index"], data["num_objects"]) == (0, 2)
    red, blue = data["masks"]
    assert [red["label"], blue["label"]] == ["red circle", "blue square"]
    assert {red["shape_type"], blue["shape_type"]} == {"polygon"}
    found = results(url, session, start_frame=0)
    assert list(found) == list(range(FRAMES))
    for number, (one, other) in found.items():
        assert at(one, red_at(number))
        assert at(other, blue_at(number))
        assert [one["group_id"], other["group_id"]] == [red["group_id"], blue["group_id"]]


def test_a_click_is_an_object_to_be_named(url: str) -> None:
    session = init(url)
    (shape,) = click(url, session, blue_at(2), frame=2)["masks"]
    assert shape["label"] == "AUTOLABEL_OBJECT"
    assert at(shape, blue_at(2))
    found = results(url, session, start_frame=2)
    assert list(found) == [2, 3, 4, 5]
    assert all(at(found[number][0], blue_at(number)) for number in found)


def test_progress_is_told_for_each_frame(url: str) -> None:
    session = init(url, start=100)
    ask_text(url, session, frame=102)
    started, *between, completed = events(url, session)
    assert started == {"type": "started", "total_frames": FRAMES, "start_frame_index": 100}
    assert [one["current_frame"] for one in between] == [102, 103, 104, 105]
    assert [one["progress"] for one in between] == [0.25, 0.5, 0.75, 1.0]
    assert sorted(completed["results"]) == ["102", "103", "104", "105"]


def test_a_span_of_frames(url: str) -> None:
    session = init(url)
    ask_text(url, session)
    assert list(results(url, session, start_frame=2, end_frame=3)) == [2, 3]
    assert list(results(url, session, end_frame=0)) == [0]


def test_a_propagation_may_be_repeated(url: str) -> None:
    session = init(url)
    ask_text(url, session)

    def places() -> list[list[Any]]:
        return [[shape["points"] for shape in found] for found in results(url, session).values()]

    assert places() == places()


def test_prompts_of_one_frame_go_together_and_others_take_their_place(url: str) -> None:
    session = init(url)
    click(url, session, red_at(1), frame=1, obj_id=1)
    assert len(click(url, session, blue_at(1), frame=1, obj_id=2)["masks"]) == 2
    results(url, session)
    # The same object's clicks, with other places, after it was followed to the end.
    (one, other) = click(url, session, red_at(1), frame=1, obj_id=2)["masks"]
    assert at(one, red_at(1))
    assert at(other, red_at(1))
    # An earlier frame: only this object is there.
    (alone,) = click(url, session, blue_at(0), frame=0, obj_id=7)["masks"]
    assert at(alone, blue_at(0))
    (named,) = ask_text(url, session, "red circle", frame=3)["masks"]
    assert at(named, red_at(3))
    assert {len(found) for found in results(url, session).values()} == {1}


def test_sessions_are_those_of_the_service(url: str, sessions: MemorySessions) -> None:
    for _ in range(3):
        last = init(url)
    assert "room" in post(url, "init", 429, frames=PICTURES)["message"]
    done = requests.post(f"{url}/v1/video/cleanup/{last}", params={"model": MODEL}, timeout=PATIENCE_S)
    assert done.json()["success"] is True
    assert sessions.open_sessions == 2
    again = requests.post(f"{url}/v1/video/cleanup/{last}", params={"model": MODEL}, timeout=PATIENCE_S)
    assert (again.status_code, again.json()["error"]["code"]) == (404, "SESSION_NOT_FOUND")
    init(url)


@pytest.mark.parametrize(
    ("frames", "status", "say"),
    [
        ([], 422, "frames"),
        ([5], 422, "frames"),
        (None, 422, "frames"),
        (["eA=="], 400, "image 0"),
        ([PICTURES[0], "~"], 400, "image 1"),
        ([PICTURES[0], ""], 400, "image 1"),
        ([PICTURES[0], uri(encoded(Image.new("RGB", (20, 10))))], 400, "first frame has 320 x 256"),
    ],
    ids=["none", "number", "null", "no picture", "no base64", "empty", "another size"],
)
def test_frames_that_are_none(url: str, sessions: MemorySessions, frames: Any, status: int, say: str) -> None:
    assert say in post(url, "init", status, frames=frames)["message"]
    assert sessions.open_sessions == 0


def test_frames_are_bounded(sessions: MemorySessions) -> None:
    bounds: tuple[tuple[dict[str, Any], str], ...] = (
        ({"video_max_frames": 3}, "3"),
        ({"video_max_pixels": 1000}, "pixels"),
        ({"video_bytes": 5000}, "5000 bytes"),
    )
    for limits, say in bounds:
        with own_server(video=fake_video(store=sessions), tools="x-anylabeling", **limits) as address:
            assert say in post(address, "init", 413, frames=PICTURES)["message"]
    assert sessions.open_sessions == 0


@pytest.mark.parametrize(
    ("fields", "status", "say"),
    [
        ({}, 422, "a phrase or a click"),
        ({"text_prompt": " , ."}, 422, "a phrase or a click"),
        ({"text_prompt": ",".join(map(str, range(17)))}, 422, "16 phrases"),
        ({"points": []}, 422, "a phrase or a click"),
        ({"points": [[0.5, 0.5]]}, 422, "one length"),
        ({"points": [[0.5]], "point_labels": [1]}, 422, "points"),
        ({"points": [[0.5, 0.5]], "point_labels": [2]}, 422, "point_labels"),
        ({"points": [[1.5, 0.5]], "point_labels": [1]}, 422, "outside"),
        ({"text_prompt": "red", "frame_index": FRAMES}, 422, "frames 0 to 5"),
        ({"text_prompt": "red", "frame_index": -1}, 422, "frame_index"),
        ({"text_prompt": "red", "model": "segment_anything_3"}, 404, MODEL),
        ({"text_prompt": "red", "params": {"conf_threshold": 2}}, 422, "conf_threshold"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_prompts_that_are_none(url: str, fields: Any, status: int, say: str) -> None:
    session = init(url)
    assert say in post(url, "prompt", status, session_id=session, **fields)["message"]
    # The session is as good as before.
    assert len(ask_text(url, session)["masks"]) == 1


def test_a_refused_prompt_leaves_what_was_followed(url: str) -> None:
    session = init(url)
    click(url, session, red_at(0))
    assert "outside" in click(url, session, (2 * WIDTH, 0), frame=1, expect=422)["message"]
    assert list(results(url, session)) == list(range(FRAMES))


@pytest.mark.parametrize("route", ["propagate", "propagate/stream"])
@pytest.mark.parametrize(
    ("span", "say"),
    [
        ({"start_frame": FRAMES}, "frames 0 to 5"),
        ({"end_frame": FRAMES}, "frames 0 to 5"),
        ({"start_frame": 3, "end_frame": 2}, "before"),
        ({"end_frame": 1}, "before"),
        ({"start_frame": "0"}, "start_frame"),
    ],
    ids=str,
)
def test_frames_that_are_not_there(url: str, route: str, span: Any, say: str) -> None:
    session = init(url)
    ask_text(url, session, frame=2)
    assert say in post(url, route, 422, session_id=session, **span)["message"]


@pytest.mark.parametrize("route", ["propagate", "propagate/stream"])
def test_nothing_is_propagated_without_a_prompt_or_a_session(url: str, route: str) -> None:
    assert "prompt" in post(url, route, 409, session_id=init(url))["message"]
    assert post(url, route, 404, session_id="a" * 32)["code"] == "SESSION_NOT_FOUND"
    assert ask_text(url, "../x", expect=404)["code"] == "SESSION_NOT_FOUND"


def test_a_task_tells_how_far_it_is_and_has_the_shapes(url: str) -> None:
    session = init(url)
    ask_text(url, session)
    begun = post(url, "propagate", session_id=session, end_frame=3)
    assert begun["status"] == "processing"

    def completed() -> Any:
        found = status(url, begun["task_id"])
        return found if found["status"] != "processing" else None

    found = until(completed)
    assert (found["status"], found["progress"], found["total_frames"]) == ("completed", 1.0, FRAMES)
    assert sorted(found["results"]) == ["0", "1", "2", "3"]
    assert at(found["results"]["3"]["masks"][0], red_at(3))


def status(url: str, task: str, expect: int = 200, **headers: str) -> Any:
    answer = requests.get(f"{url}/v1/video/status/{task}", headers=headers, timeout=PATIENCE_S)
    assert answer.status_code == expect, answer.text
    return answer.json()["data"] if expect == 200 else answer.json()["error"]


def cancel(url: str, task: str, expect: int = 200) -> None:
    answer = requests.post(f"{url}/v1/video/cancel/{task}", timeout=PATIENCE_S)
    assert answer.status_code == expect, answer.text


def test_a_task_is_cancelled_while_it_works(url: str, tracking: FakeTracking) -> None:
    session = init(url)
    ask_text(url, session)
    tracking.slow_at = 4  # the answer of this frame does not come
    task = post(url, "propagate", session_id=session)["task_id"]
    until(lambda: any(one.number == 4 for job in tracking.jobs for one in job.frames))
    assert status(url, task)["status"] == "processing"
    cancel(url, task)
    assert tracking.given_up == 1
    assert status(url, task)["status"] == "cancelled"
    assert "results" not in status(url, task)
    tracking.slow_at = None
    assert len(results(url, session)) == FRAMES
    cancel(url, task)  # once more is no harm


def test_a_task_that_fails_says_why(url: str, tracking: FakeTracking) -> None:
    session = init(url)
    ask_text(url, session)
    tracking.expires_at = 3
    task = post(url, "propagate", session_id=session)["task_id"]
    found = until(lambda: (now := status(url, task))["status"] == "failed" and now)
    assert "too long" in found["error"]
    # ... even before its first frame.
    tracking.expires_at = 0
    task = post(url, "propagate", session_id=session)["task_id"]
    assert "too long" in until(lambda: (now := status(url, task))["status"] == "failed" and now)["error"]


def test_a_session_has_one_task_which_ends_with_it(url: str, tracking: FakeTracking) -> None:
    session = init(url)
    ask_text(url, session)
    tracking.slow_at = 4
    first, second = (post(url, "propagate", session_id=session)["task_id"] for _ in range(2))
    assert status(url, first, 404)["code"] == "TASK_NOT_FOUND"
    assert status(url, second)["status"] == "processing"
    requests.post(f"{url}/v1/video/cleanup/{session}", timeout=PATIENCE_S)
    status(url, second, 404)
    cancel(url, second, 404)


def test_an_error_after_the_first_frame_is_an_event(url: str, tracking: FakeTracking) -> None:
    session = init(url)
    ask_text(url, session)
    tracking.expires_at = 3
    assert events(url, session)[-1]["type"] == "error"
    tracking.expires_at = 0
    refused = post(url, "propagate/stream", 504, session_id=session)
    assert "too long" in refused["message"]


def test_a_client_that_goes_away_stops_the_work(url: str, tracking: FakeTracking) -> None:
    session = init(url)
    ask_text(url, session)
    tracking.slow_at = 4  # the answer of this frame does not come
    body = {"model": MODEL, "session_id": session}
    with requests.post(f"{url}/v1/video/propagate/stream", json=body, stream=True, timeout=PATIENCE_S) as one:
        lines = one.iter_lines()  # the connection is cut when it is forgotten
        next(lines)
        until(lambda: any(part.number == 4 for job in tracking.jobs for part in job.frames))
    until(lambda: tracking.given_up)
    # The program then cleans up.
    gone = requests.post(f"{url}/v1/video/cleanup/{session}", timeout=PATIENCE_S)
    assert gone.status_code == 200, gone.text


def test_a_newer_prompt_ends_the_stream_of_an_older_one(url: str, tracking: FakeTracking) -> None:
    session = init(url)
    ask_text(url, session)
    tracking.slow_at = 4
    body = {"model": MODEL, "session_id": session}
    with requests.post(f"{url}/v1/video/propagate/stream", json=body, stream=True, timeout=PATIENCE_S) as one:
        lines = one.iter_lines()
        assert json.loads(next(lines).removeprefix(b"data: "))["type"] == "started"
        until(lambda: any(part.number == 4 for job in tracking.jobs for part in job.frames))
        tracking.slow_at = None
        (shape,) = click(url, session, blue_at(1), frame=1)["masks"]
        assert at(shape, blue_at(1))
        told = [json.loads(line.removeprefix(b"data: ")) for line in lines if line.startswith(b"data: ")]
    assert told[-1]["type"] in {"error", "completed"}
    assert all(at(found[0], blue_at(number)) for number, found in results(url, session).items())


def test_a_busy_model_is_waited_for(url: str, tracking: FakeTracking) -> None:
    session = init(url)
    tracking.overloads = [Overloaded(0.01)]
    assert "busy" in ask_text(url, session, expect=503)["message"]
    assert len(ask_text(url, session)["masks"]) == 1


def test_a_session_is_of_its_tenant(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    one, other = ({"headers": {"Token": keyfile.add(file, name)}} for name in ("one", "other"))
    with own_server(tools="x-anylabeling", api_keys_file=str(file)) as address:
        assert post(address, "init", 401, frames=PICTURES)["code"] == "UNAUTHORIZED"
        session = post(address, "init", 200, one, frames=PICTURES)["session_id"]
        asked = {"session_id": session, "text_prompt": "red circle", "params": PARAMS}
        assert post(address, "prompt", 404, other, **asked)["code"] == "SESSION_NOT_FOUND"
        assert len(post(address, "prompt", 200, one, **asked)["masks"]) == 1
        post(address, "propagate/stream", 404, other, session_id=session)
        task = post(address, "propagate", 200, one, session_id=session)["task_id"]
        status(address, task, 404, **other["headers"])
        status(address, task, 200, **one["headers"])
        gone = requests.post(
            f"{address}/v1/video/cleanup/{session}", timeout=PATIENCE_S, headers=other["headers"]
        )
        assert gone.status_code == 404
