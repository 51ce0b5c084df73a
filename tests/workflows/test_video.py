"""The block `sam3_video`: objects keep their ids through the requests of a video. A stand-in follows drawn shapes."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import requests

from sam3_engine.rle import from_rle
from tests.support.clips import blue_at, picture, red_at
from tests.support.patience import PATIENCE_S
from tests.support.scenes import as_json, box_iou
from tests.workflows.conftest import Server, ServerFactory
from tests.workflows.specifications import sam3, video, workflow
from tests.workflows.test_client import boxes

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"  # pycocotools with numpy 2
)

BOTH = workflow(video(class_names=["red circle", "blue square"]), found="$steps.video.predictions")
POINTS = workflow(
    video(tracking_mode="visual", points=[dict(zip("xy", red_at(0), strict=True))]),
    found="$steps.video.predictions",
)


@pytest.fixture
def server(start_server: ServerFactory) -> Iterator[Server]:
    """Its sessions are a test's own."""
    with start_server() as running:
        yield running


def frame(number: int, *, camera: str | None = "camera", at: int | None = None, **options: Any) -> Any:
    """A frame of the clip. at: its number as the client says it; camera: None sends none."""
    said = {"frame_number": number if at is None else at, "frame_timestamp": "2026-11-28T00:00:00"}
    about = {"video_metadata": {"video_identifier": camera, **said}} if camera else {}
    return {**as_json(picture(number, **options)), **about}


def found(answer: requests.Response, output: int = 0) -> dict[int, dict[str, Any]]:
    """The predictions of a run, by their ids."""
    assert answer.status_code == 200, answer.text
    predictions = answer.json()["outputs"][output]["found"]["predictions"]
    return {one["tracker_id"]: one for one in predictions}


def send(server: Server, specification: Any, image: Any, **inputs: Any) -> dict[int, dict[str, Any]]:
    return found(server.run(specification, {"image": image, **inputs}))


def classes(predictions: dict[int, dict[str, Any]]) -> dict[int, str]:
    return {number: one["class"] for number, one in predictions.items()}


def refused(server: Server, specification: Any, image: Any, **inputs: Any) -> tuple[int, str]:
    answer = server.run(specification, {"image": image, **inputs})
    return answer.status_code, answer.json().get("message", "")


def test_objects_keep_their_ids_from_request_to_request(server: Server) -> None:
    first = send(server, BOTH, frame(0, blue_from=2))
    assert classes(first) == {1: "red circle"}
    send(server, BOTH, frame(1, blue_from=2))
    third = send(server, BOTH, frame(2, blue_from=2))
    assert classes(third) == {1: "red circle", 2: "blue square"}
    assert third[2]["class_id"] == 1
    x, y = red_at(2)
    assert (third[1]["x"], third[1]["y"]) == (pytest.approx(x, abs=3), pytest.approx(y, abs=3))
    assert server.sessions.open_sessions == 1


def test_the_answers_are_those_of_a_session_over_http(server: Server) -> None:
    rules = {"texts": [{"text": "red circle"}, {"text": "blue square"}], "every": 1}
    session = server.post("/sam3/video/sessions", rules).json()["session_id"]
    for number in range(3):
        body = {"image": as_json(picture(number)), "frame": number}
        (direct,) = server.post(f"/sam3/video/sessions/{session}/frames", body).json()["frames"]
        predictions = send(server, BOTH, frame(number))
        assert classes(predictions) == {one["id"]: one["label"] for one in direct["objects"]}
        for one in direct["objects"]:
            x0, y0, x1, y1 = boxes({"predictions": [predictions[one["id"]]]})[0]
            ys, xs = np.nonzero(from_rle(one["masks"]))
            assert (x0, y0) == (xs.min(), ys.min())
            assert box_iou((x0, y0, x1, y1), (xs.min(), ys.min(), xs.max(), ys.max())) > 0.95
            assert predictions[one["id"]]["confidence"] == pytest.approx(one["confidence"])


def test_one_request_may_have_frames_of_several_videos(server: Server) -> None:
    send(server, BOTH, frame(0, camera="left"))
    images = [frame(1, camera="left"), frame(0, camera="right", blue_from=9), frame(2, camera="left")]
    answer = server.run(BOTH, {"image": images})
    left, right, later = (found(answer, output) for output in range(3))
    assert classes(left) == classes(later) == {1: "red circle", 2: "blue square"}
    assert classes(right) == {1: "red circle"}
    assert later[1]["x"] > left[1]["x"]
    assert classes(send(server, BOTH, frame(1, camera="right"))) == {1: "red circle", 2: "blue square"}
    assert server.sessions.open_sessions == 2


def test_an_image_that_is_no_frame_leaves_nothing(server: Server) -> None:
    for _ in range(2):
        assert classes(send(server, BOTH, frame(0, camera=None))) == {1: "red circle", 2: "blue square"}
    assert server.sessions.open_sessions == 0


def test_steps_and_definitions_follow_a_video_each_for_itself(server: Server) -> None:
    steps = [video(name="video", class_names="red circle"), video(name="other", class_names="blue square")]
    two = workflow(*steps, found="$steps.video.predictions", other="$steps.other.predictions")
    for number in range(2):
        answer = server.run(two, {"image": frame(number)})
        assert classes(found(answer)) == {1: "red circle"}
        (other,) = answer.json()["outputs"][0]["other"]["predictions"]
        assert (other["tracker_id"], other["class"]) == (1, "blue square")
    send(server, BOTH, frame(0))
    assert server.sessions.open_sessions == 3


def test_a_video_that_begins_again_is_a_new_one(server: Server) -> None:
    for number in range(3):
        send(server, BOTH, frame(number))
    assert classes(send(server, BOTH, frame(0, blue_from=9))) == {1: "red circle"}, "ids begin anew"
    assert server.sessions.open_sessions == 1


def test_other_classes_begin_a_video_anew(server: Server) -> None:
    chosen = workflow(
        video(class_names="$inputs.names"),
        inputs=[{"type": "WorkflowParameter", "name": "names"}],
        found="$steps.video.predictions",
    )
    names: list[Any] = ["red circle", " blue square "]
    assert classes(send(server, chosen, frame(0), names=names)) == {1: "red circle", 2: " blue square "}
    assert classes(send(server, chosen, frame(1), names=names)) == {1: "red circle", 2: " blue square "}
    assert classes(send(server, chosen, frame(2), names="blue square")) == {1: "blue square"}
    assert send(server, chosen, frame(3), names=[]) == {}
    status, message = refused(server, chosen, frame(4), names=["x"] * 17)
    assert status == 400
    assert "16" in message
    assert refused(server, chosen, frame(4), names=[" "])[0] == 400
    assert server.sessions.open_sessions == 1


def test_a_point_begins_an_object_that_later_frames_follow(server: Server) -> None:
    for number in range(3):
        (one,) = send(server, POINTS, frame(number)).values()
        assert (one["tracker_id"], one["class"], one["confidence"]) == (1, "foreground", 1.0)
        assert one["x"] == pytest.approx(red_at(number)[0], abs=3)


def test_boxes_of_another_step_name_the_objects_of_later_frames(server: Server) -> None:
    boxed = workflow(
        sam3(class_names="red circle,blue square"),
        video(
            tracking_mode="visual",
            boxes="$steps.sam.predictions",
            points=[dict(zip("xy", blue_at(0), strict=True))],
        ),
        found="$steps.video.predictions",
    )
    first = send(server, boxed, frame(0))
    again = send(server, boxed, frame(1))
    assert classes(first) == classes(again)
    assert set(classes(first).values()) >= {"red circle", "foreground"}
    assert {number: one["parent_id"] for number, one in again.items()} == {
        number: one["parent_id"] for number, one in first.items()
    }, "each is the detection's that it began with"


def test_the_prompts_come_again_as_the_step_says(server: Server) -> None:
    step = video(tracking_mode="visual", points="$inputs.points", prompt_mode="every_n_frames")
    specification = workflow(
        {**step, "prompt_interval": 2},
        inputs=[{"type": "WorkflowParameter", "name": "points"}],
        found="$steps.video.predictions",
    )
    xs = []
    for number in range(5):
        point = dict(zip("xy", blue_at(number) if number else red_at(0), strict=True))
        (one,) = send(server, specification, frame(number), points=[point]).values()
        xs.append(one["x"])
    x = pytest.approx
    assert xs[:3] == [x(red_at(number)[0], abs=3) for number in range(3)]
    assert xs[3:] == [x(blue_at(0)[0], abs=3)] * 2


def test_a_video_that_nobody_asked_for_too_long_begins_anew(server: Server) -> None:
    send(server, BOTH, frame(0))
    server.sessions.idle_s = -1.0
    answer = server.run(BOTH, {"image": frame(5, camera="other")})
    assert answer.status_code == 409, "it ended while its frame was on the way"
    assert "again" in answer.json()["message"]
    server.sessions.idle_s = 60.0
    assert classes(send(server, BOTH, frame(6, blue_from=9))) == {1: "red circle"}


def test_prompts_that_a_session_refuses_are_the_clients_mistake(server: Server) -> None:
    outside = workflow(
        video(tracking_mode="visual", points=[{"x": 5000, "y": 20}]), found="$steps.video.predictions"
    )
    status, message = refused(server, outside, frame(0))
    assert (status, "outside" in message) == (400, True), message
    assert server.sessions.open_sessions == 0, "no session is left of it"
    other = workflow(video(model_id="sam2video", class_names="x"), found="$steps.video.predictions")
    status, message = refused(server, other, frame(0))
    assert status == 404, message
    assert "sam3video" in message


def test_malformed_metadata_is_the_clients_mistake(server: Server) -> None:
    for wrong in ("camera", {}, {"video_identifier": 5, "frame_number": 0}, {"video_identifier": "x"}):
        image = {**as_json(picture(0)), "video_metadata": wrong}
        assert refused(server, BOTH, image)[0] == 400, wrong
    assert server.sessions.open_sessions == 0


def test_a_tenant_follows_so_many_videos(start_server: ServerFactory) -> None:
    with start_server(video_sessions=2) as server:
        for camera in ("one", "two"):
            send(server, BOTH, frame(0, camera=camera))
        status, message = refused(server, BOTH, frame(0, camera="three"))
        assert status == 429
        assert "room" in message
        assert classes(send(server, BOTH, frame(1, camera="one"))) == {1: "red circle", 2: "blue square"}


def test_without_videos_the_step_says_how_to_switch_them_on(start_server: ServerFactory) -> None:
    with start_server(video=False) as server:
        status, message = refused(server, BOTH, frame(0))
        assert status == 501
        assert "SAM3_VIDEO" in message


def test_the_sessions_can_be_seen_and_ended_by_the_routes_of_videos(server: Server) -> None:
    send(server, BOTH, frame(0))
    (shown,) = requests.get(f"{server.url}/sam3/video/sessions", timeout=PATIENCE_S).json()["sessions"]
    assert [one["text"] for one in shown["texts"]] == ["red circle", "blue square"]
    ended = requests.delete(f"{server.url}/sam3/video/sessions/{shown['session_id']}", timeout=PATIENCE_S)
    assert ended.status_code == 200
    assert classes(send(server, BOTH, frame(1, blue_from=9))) == {1: "red circle"}
