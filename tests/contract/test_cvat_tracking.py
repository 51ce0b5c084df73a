"""The tracker of CVAT, called as its server's `lambda_manager` calls it: states go out signed, and come back."""

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from serve_app.http.tenants import keyfile
from tests.contract.conftest import Client, own_server
from tests.contract.test_cvat import HEADERS, INVOKE, Function, get, invoke
from tests.support.clips import RADIUS, blue_at, picture, red_at
from tests.support.fake_video import fake_video
from tests.support.memory_sessions import MemorySessions
from tests.support.scenes import as_json, box_iou

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"  # pycocotools with numpy 2
)
TRACKER = "sam3-tracker"


@pytest.fixture
def sessions() -> MemorySessions:
    return MemorySessions()


@pytest.fixture
def url(sessions: MemorySessions) -> Iterator[str]:
    with own_server(video=fake_video(store=sessions), tools="cvat", video_sessions=3) as address:
        yield address


def around(place: tuple[int, int]) -> list[int]:
    x, y = place
    return [x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS]


def rectangle(place: tuple[int, int]) -> dict[str, Any]:
    return {"type": "rectangle", "points": around(place)}


RED, BLUE = rectangle(red_at(0)), rectangle(blue_at(0))


def call(url: str, number: int, expect: int = 200, **payload: Any) -> Any:
    body = {"image": as_json(picture(number))["value"], **payload}
    return invoke(url, TRACKER, body, expect)


def begin(url: str, *shapes: dict[str, Any]) -> list[Any]:
    """The states, as CVAT keeps them: it writes each as JSON."""
    return [json.loads(json.dumps(state)) for state in call(url, 0, shapes=shapes, states=[])["states"]]


def follow(url: str, number: int, states: list[Any], expect: int = 200) -> Any:
    return call(url, number, expect, shapes=[None] * len(states), states=states)


def test_the_tracker_is_as_cvat_reads_it(url: str) -> None:
    function = Function(get(url, f"/api/functions/{TRACKER}"))
    assert function.kind == "tracker"
    assert get(url, "/api/functions")[TRACKER]["metadata"]["annotations"]["supported_shape_types"] == (
        "rectangle,polygon"
    )
    with own_server(tools="cvat", model="sam3") as other:
        assert TRACKER not in get(other, "/api/functions")
        assert "error" in invoke(other, TRACKER, {"image": ""}, expect=404)


def test_shapes_are_followed_by_their_states(url: str, sessions: MemorySessions) -> None:
    states = begin(url, BLUE, RED)
    for number in range(1, 4):
        found = follow(url, number, states)
        for shape, place in zip(found["shapes"], (blue_at(number), red_at(number)), strict=True):
            assert shape["type"] == "rectangle"
            assert box_iou(shape["points"], around(place)) > 0.9
        states = found["states"]
    assert sessions.open_sessions == 1


def test_a_polygon_is_followed_by_its_outline(url: str) -> None:
    x, y = red_at(0)
    corners = [x, y - RADIUS, x + RADIUS, y, x, y + RADIUS, x - RADIUS, y]
    (shape,) = follow(url, 1, begin(url, {"type": "polygon", "points": corners}))["shapes"]
    points = np.array(shape["points"]).reshape(-1, 2)
    assert (shape["type"], len(points) > 6) == ("polygon", True)
    assert np.abs(np.hypot(*(points - red_at(1)).T) - RADIUS).max() < 4


def test_a_frame_that_comes_again_is_answered_as_before(url: str) -> None:
    states = begin(url, RED)
    first = follow(url, 1, states)
    follow(url, 2, first["states"])
    assert follow(url, 1, states) == first
    assert "frame" in follow(url, 5, states, expect=409)["error"]


def test_new_shapes_and_old_ones_may_come_together(url: str, sessions: MemorySessions) -> None:
    states = begin(url, RED)
    found = call(url, 1, shapes=[None, rectangle(blue_at(1))], states=[states[0], None])
    assert box_iou(found["shapes"][0]["points"], around(red_at(1))) > 0.9
    assert found["shapes"][1] == rectangle(blue_at(1))
    later = follow(url, 2, found["states"])
    assert box_iou(later["shapes"][1]["points"], around(blue_at(2))) > 0.9
    assert sessions.open_sessions == 2


def test_an_object_that_is_not_seen_has_no_shape(url: str) -> None:
    states = begin(url, RED, BLUE)
    without_blue = as_json(picture(1, blue_from=9))["value"]
    found = invoke(url, TRACKER, {"image": without_blue, "shapes": [None, None], "states": states})
    assert found["shapes"][0] is not None
    assert found["shapes"][1] is None
    assert len(found["states"]) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"shapes": [{"type": "rectangle", "points": [1, 2, 3]}]},
        {"shapes": [{"type": "rectangle", "points": [1, 2, 3, 4, 5, 6]}]},
        {"shapes": [{"type": "polygon", "points": [1, 2, 3, 4, 5]}]},
        {"shapes": [{"type": "mask", "points": [1, 2, 3, 4]}]},
        {"shapes": [[1, 2, 3, 4]]},
        {"shapes": [RED] * 65},
        {"shapes": [None]},
        {"shapes": [{"type": "rectangle", "points": [900, 900, 950, 950]}]},
        {"states": ["x"]},
        {"states": [{"session": "../x", "object": 1, "frame": 0, "type": "rectangle"}]},
        {"states": [{"session": "a" * 32, "object": 0, "frame": 0, "type": "rectangle"}]},
        {"states": [{"session": "a" * 32, "object": 1, "frame": -1, "type": "rectangle"}]},
        {"states": [{"session": "a" * 32, "object": 1, "frame": 0, "type": "mask"}]},
        {"states": 5},
    ],
    ids=lambda wrong: str(wrong)[:60],
)
def test_malformed_calls_are_refused(url: str, sessions: MemorySessions, wrong: dict[str, Any]) -> None:
    assert "error" in call(url, 0, 422, **wrong)
    assert sessions.open_sessions == 0


def test_nothing_to_follow_is_answered_by_nothing(url: str) -> None:
    assert call(url, 0, shapes=[], states=[]) == {"shapes": [], "states": []}


def test_an_image_that_is_none_leaves_no_session(url: str, sessions: MemorySessions) -> None:
    assert "error" in invoke(url, TRACKER, {"image": "eA==", "shapes": [RED]}, expect=400)
    assert sessions.open_sessions == 0


def test_a_session_that_has_ended_is_404_and_too_many_are_429(url: str) -> None:
    gone = {"session": "a" * 32, "object": 1, "frame": 0, "type": "rectangle"}
    assert "error" in follow(url, 1, [gone], expect=404)
    for _ in range(3):
        begin(url, RED)
    assert "room" in call(url, 0, 429, shapes=[RED])["error"]


def test_a_state_is_of_its_tenant(tmp_path: Any) -> None:
    file = tmp_path / "keys.json"
    keys = [keyfile.add(file, name) for name in ("one", "other")]
    with own_server(tools="cvat", api_keys_file=str(file)) as address:
        asked = {"image": as_json(picture(0))["value"], "shapes": [RED], "states": []}
        headers = {**HEADERS, "x-nuclio-function-name": TRACKER}
        one, other = ({**headers, "Authorization": f"Bearer {key}"} for key in keys)
        (state,) = Client(address).post(INVOKE, asked, 200, headers=one)["states"]
        later = {"image": as_json(picture(1))["value"], "shapes": [None], "states": [state]}
        assert "error" in Client(address).post(INVOKE, later, 404, headers=other)
        assert Client(address).post(INVOKE, later, 200, headers=one)["shapes"][0] is not None
