"""Workflows that follow objects through a video, on a whole server with the bundled model."""

from typing import Any

import numpy as np
import pytest
import requests

from harness.server import ServerProcess
from sam3_engine.rle import from_rle
from tests.support.clips import picture, red_at
from tests.support.patience import PATIENCE_S
from tests.support.scenes import as_json
from tests.workflows.specifications import video, workflow

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"  # pycocotools with numpy 2
)
FRAMES = 6
BLUE_FROM = 2
TEXTS = ["red circle", "blue square"]
SPECIFICATION = workflow(
    video(class_names=TEXTS),
    {
        "type": "roboflow_core/mask_visualization@v1",
        "name": "drawn",
        "image": "$inputs.image",
        "predictions": "$steps.video.predictions",
    },
    found="$steps.video.predictions",
)


def post(server: ServerProcess, path: str, document: Any) -> Any:
    answer = requests.post(server.url + path, json=document, timeout=PATIENCE_S)
    assert answer.status_code == 200, answer.text
    return answer.json()


def run(server: ServerProcess, number: int, specification: Any = SPECIFICATION) -> list[dict[str, Any]]:
    said = {"video_identifier": "a camera", "frame_number": number, "frame_timestamp": "2026-11-28T00:00:00"}
    image = {**as_json(picture(number, blue_from=BLUE_FROM)), "video_metadata": said}
    answer = post(server, "/infer/workflows", {"specification": specification, "inputs": {"image": image}})
    predictions: list[dict[str, Any]] = answer["outputs"][0]["found"]["predictions"]
    return sorted(predictions, key=lambda one: int(one["tracker_id"]))


def corners(mask: Any) -> list[int]:
    ys, xs = np.nonzero(mask)
    return [xs.min(), ys.min(), xs.max(), ys.max()]


def sides(prediction: dict[str, Any]) -> list[float]:
    x, y, width, height = (prediction[name] for name in ("x", "y", "width", "height"))
    return [x - width / 2, y - height / 2, x + width / 2, y + height / 2]


class Session:
    """A session over `/sam3/video`, which is asked about the frames that a workflow is asked about."""

    def __init__(self, server: ServerProcess, **rules: Any) -> None:
        self._server = server
        self._path = f"/sam3/video/sessions/{post(server, '/sam3/video/sessions', rules)['session_id']}"

    def frame(self, number: int, **prompts: Any) -> list[dict[str, Any]]:
        body = {"image": as_json(picture(number, blue_from=BLUE_FROM)), "frame": number, **prompts}
        (found,) = post(self._server, f"{self._path}/frames", body)["frames"]
        return list(found["objects"])

    def end(self) -> None:
        requests.delete(self._server.url + self._path, timeout=PATIENCE_S)


def same(prediction: dict[str, Any], shown: dict[str, Any]) -> None:
    mask = from_rle(shown["masks"])
    assert sides(prediction) == pytest.approx(corners(mask), abs=0.5)
    points = np.array([[point["x"], point["y"]] for point in prediction["points"]], dtype=int)
    assert mask[points[:, 1], points[:, 0]].all(), "the outline is the mask's own"


def test_ids_and_masks_are_those_of_a_session(tiny_server: ServerProcess) -> None:
    session = Session(tiny_server, texts=[{"text": text} for text in TEXTS], every=1)
    seen = []
    for number in range(FRAMES):
        predictions = run(tiny_server, number)
        shown = [one for one in session.frame(number) if one["confidence"] >= 0.5]  # the step's own threshold
        assert [(one["tracker_id"], one["class"]) for one in predictions] == [
            (one["id"], one["label"]) for one in shown
        ]
        for prediction, one in zip(predictions, shown, strict=True):
            same(prediction, one)
        seen.append({one["class"]: one["tracker_id"] for one in predictions})
    assert seen[0] == {"red circle": 1}
    assert seen[-1] == {"red circle": 1, "blue square": 2}
    session.end()


def test_clicked_objects_are_those_of_a_session(tiny_server: ServerProcess) -> None:
    point = dict(zip("xy", red_at(0), strict=True))
    clicked = workflow(video(tracking_mode="visual", points=[point]), found="$steps.video.predictions")
    session = Session(tiny_server)
    for number in range(FRAMES):
        prompts = {} if number else {"prompts": [{"points": [point]}]}
        shown = session.frame(number, **prompts)
        predictions = run(tiny_server, number, clicked)
        assert [one["tracker_id"] for one in predictions] == [one["id"] for one in shown]
        for prediction, one in zip(predictions, shown, strict=True):
            same(prediction, one)
    session.end()
