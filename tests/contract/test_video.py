"""Videos over HTTP: sessions, frames, prompts."""

import json
from pathlib import Path
from typing import Any

import pytest
import requests

from serve_app.http.tenants import keyfile
from tests.contract.conftest import Client, ServerFactory
from tests.support.clips import blue_at, picture, red_at
from tests.support.fake_video import FakeTracking, fake_video
from tests.support.memory_sessions import MemorySessions
from tests.support.patience import PATIENCE_S
from tests.support.scenes import HEIGHT, WIDTH, as_json

SESSIONS = "/sam3/video/sessions"
RED = {"texts": [{"text": "red circle"}], "every": 1}
MISSING = "0" * 32


def begin(client: Client, body: dict[str, Any] | None = None, **options: Any) -> str:
    session = client.post(SESSIONS, RED if body is None else body, **options)["session_id"]
    assert isinstance(session, str)
    return session


def frames(client: Client, session: str, numbers: list[int], expect: int = 200, **fields: Any) -> Any:
    images = [as_json(picture(number)) for number in numbers]
    body = {"image": images if len(images) > 1 else images[0], **fields}
    return client.post(f"{SESSIONS}/{session}/frames", body, expect)


def centre(shown: dict[str, Any]) -> tuple[float, float]:
    box = shown["box"]
    return (box["x0"] + box["x1"]) / 2, (box["y0"] + box["y1"]) / 2


@pytest.fixture
def own(start_server: ServerFactory, tracking: FakeTracking) -> Any:
    with start_server(video=fake_video(tracking)) as url:
        yield Client(url)


@pytest.fixture
def tracking() -> FakeTracking:
    return FakeTracking()


def test_an_object_keeps_its_id_from_frame_to_frame(client: Client) -> None:
    session = begin(client)
    for number in range(3):
        answer = frames(client, session, [number])
        (found,) = answer["frames"]
        assert (found["frame"], found["width"], found["height"]) == (number, WIDTH, HEIGHT)
        (shown,) = found["objects"]
        assert (shown["id"], shown["label"]) == (1, "red circle")
        assert centre(shown) == pytest.approx(red_at(number), abs=8)
        assert (shown["format"], shown["masks"]["size"]) == ("rle", [HEIGHT, WIDTH])
        assert answer["next_frame"] == number + 1


def test_several_images_are_frames_that_follow_one_another(client: Client) -> None:
    session = begin(client)
    answer = frames(client, session, [0, 1, 2], format="polygon")
    assert [one["frame"] for one in answer["frames"]] == [0, 1, 2]
    assert answer["next_frame"] == 3
    assert {one["objects"][0]["id"] for one in answer["frames"]} == {1}
    assert answer["frames"][0]["objects"][0]["format"] == "polygon"
    assert frames(client, session, [3])["frames"][0]["frame"] == 3


def test_files_may_be_parts_of_a_form(client: Client) -> None:
    session = begin(client)
    parts: list[Any] = [("image", (f"{number}.png", picture(number), "image/png")) for number in range(2)]
    parts.append(("request", ("", json.dumps({"frame": 0}), "application/json")))
    answer = requests.post(f"{client.url}{SESSIONS}/{session}/frames", files=parts, timeout=PATIENCE_S)
    assert answer.status_code == 200, answer.text
    assert [one["frame"] for one in answer.json()["frames"]] == [0, 1]


def test_a_frame_that_is_sent_again_is_answered_as_before(client: Client) -> None:
    session = begin(client)
    first = frames(client, session, [0, 1], frame=0)["frames"]
    assert frames(client, session, [0, 1], frame=0)["frames"] == first
    again = frames(client, session, [1, 2], frame=1)
    assert again["frames"][0] == first[1]
    assert again["next_frame"] == 3


def test_another_frame_than_the_next_one_is_refused(client: Client) -> None:
    session = begin(client)
    frames(client, session, [0], frame=0)
    for numbers, first in (([2], 2), ([1], 0)):
        refused = frames(client, session, numbers, expect=409, frame=first)
        assert refused["expected_frame"] == 1
        assert "expects frame 1" in refused["message"]
    assert frames(client, session, [1], frame=1)["next_frame"] == 2


def test_a_session_can_be_looked_at_and_ended(client: Client) -> None:
    session = begin(client)
    frames(client, session, [0])
    found = requests.get(f"{client.url}{SESSIONS}/{session}", timeout=PATIENCE_S).json()
    assert found["session_id"] == session
    assert found["texts"] == [{"text": "red circle", "output_prob_thresh": 0.5}]
    assert (found["every"], found["most_objects"], found["next_frame"]) == (1, 64, 1)
    assert found["objects"] == [{"id": 1, "label": "red circle"}]
    assert found["idle_seconds"] > 0
    listed = requests.get(f"{client.url}{SESSIONS}", timeout=PATIENCE_S).json()["sessions"]
    assert session in [one["session_id"] for one in listed]
    ended = requests.delete(f"{client.url}{SESSIONS}/{session}", timeout=PATIENCE_S)
    assert (ended.status_code, ended.json()["session_id"]) == (200, session)
    assert requests.get(f"{client.url}{SESSIONS}/{session}", timeout=PATIENCE_S).status_code == 404
    frames(client, session, [1], expect=404)


@pytest.mark.parametrize("session", [MISSING, "short", "A" * 32, "z" * 32])
def test_a_session_that_is_not_there_is_404(client: Client, session: str) -> None:
    for answer in (
        requests.get(f"{client.url}{SESSIONS}/{session}", timeout=PATIENCE_S),
        requests.delete(f"{client.url}{SESSIONS}/{session}", timeout=PATIENCE_S),
        client.send(f"{SESSIONS}/{session}/frames", {"image": as_json(picture(0))}),
        client.send(f"{SESSIONS}/{session}/prompts", {"texts": [{"text": "red"}]}),
    ):
        assert answer.status_code == 404, answer.text
        assert "message" in answer.json()


@pytest.mark.parametrize(
    "body",
    [
        {"every": -1},
        {"every": 1.5},
        {"every": True},
        {"most_objects": 0},
        {"most_objects": 65},
        {"texts": "red"},
        {"texts": [{"text": " "}]},
        {"texts": [{"text": "x" * 1001}]},
        {"texts": [{}]},
        {"texts": [{"text": "red", "output_prob_thresh": 1.5}]},
        {"texts": [{"text": "red"}] * 17},
    ],
)
def test_rules_that_mean_nothing_are_refused(client: Client, body: dict[str, Any]) -> None:
    assert client.post(SESSIONS, body, 422)["detail"]


@pytest.mark.parametrize(
    "prompt",
    [
        {},
        {"points": []},
        {"points": [{"x": 1}]},
        {"points": [{"x": "1", "y": 1}]},
        {"object_id": 0, "points": [{"x": 1, "y": 1}]},
        {"remove": True},
        {"object_id": 1, "remove": True, "points": [{"x": 1, "y": 1}]},
        {"points": [{"x": 5000, "y": 1}]},
    ],
)
def test_prompts_that_mean_nothing_are_refused(client: Client, prompt: dict[str, Any]) -> None:
    session = begin(client, {})
    refused = frames(client, session, [0], expect=422, prompts=[prompt])
    assert refused["detail"][0]["loc"][:2] == ["body", "prompts"]
    frames(client, session, [0], frame=0)
    assert client.post(f"{SESSIONS}/{session}/prompts", {"prompts": [prompt]}, 422)["detail"]


@pytest.mark.parametrize(
    "prompt", [{"object_id": 7, "points": [{"x": 1, "y": 1}]}, {"object_id": 7, "remove": True}]
)
def test_prompts_about_an_object_that_is_not_there_conflict(client: Client, prompt: dict[str, Any]) -> None:
    session = begin(client, {})
    refused = frames(client, session, [0], expect=409, prompts=[prompt])
    assert "no object 7" in refused["message"]
    frames(client, session, [0], frame=0)
    client.post(f"{SESSIONS}/{session}/prompts", {"prompts": [prompt]}, 409)


def test_prompts_without_anything_are_refused(client: Client) -> None:
    session = begin(client, {})
    frames(client, session, [0])
    bodies: list[dict[str, Any]] = [{}, {"prompts": []}, {"prompts": None, "texts": []}]
    for body in bodies:
        assert client.post(f"{SESSIONS}/{session}/prompts", body, 422)["detail"]


def test_what_is_no_image_leaves_the_session_as_it_was(client: Client) -> None:
    session = begin(client)
    images = [as_json(picture(0)), {"type": "base64", "value": "bm8gaW1hZ2U="}]
    client.post(f"{SESSIONS}/{session}/frames", {"image": images}, 400)
    frames(client, session, [0], expect=400, format="binary")
    frames(client, session, [0], expect=422, frame=-1)
    assert frames(client, session, [0])["frames"][0]["frame"] == 0


def test_prompts_before_the_first_frame_are_refused(client: Client) -> None:
    session = begin(client, {})
    refused = client.post(f"{SESSIONS}/{session}/prompts", {"texts": [{"text": "red"}]}, 409)
    assert refused["expected_frame"] == 0


def test_a_click_begins_an_object_and_later_ones_correct_and_remove_it(own: Client) -> None:
    session = begin(own, {})
    x, y = red_at(0)
    click = {"points": [{"x": x, "y": y}], "label": "ball"}
    (shown,) = frames(own, session, [0], prompts=[click])["frames"][0]["objects"]
    assert (shown["id"], shown["label"]) == (1, "ball")
    frames(own, session, [1])
    x, y = blue_at(1)
    correction = {"object_id": 1, "points": [{"x": x, "y": y}]}
    answer = own.post(f"{SESSIONS}/{session}/prompts", {"prompts": [correction], "frame": 1})
    assert (answer["frame"], answer["session_id"]) == (1, session)
    assert centre(answer["objects"][0]) == pytest.approx((x, y), abs=4)
    own.post(f"{SESSIONS}/{session}/prompts", {"prompts": [correction], "frame": 0}, 409)
    (shown,) = frames(own, session, [2], frame=2)["frames"][0]["objects"]
    assert centre(shown) == pytest.approx(blue_at(2), abs=4)
    answer = own.post(f"{SESSIONS}/{session}/prompts", {"prompts": [{"object_id": 1, "remove": True}]})
    assert answer["ended"] == [1]
    assert frames(own, session, [3])["frames"][0]["objects"] == []


def test_a_text_may_come_later(own: Client) -> None:
    session = begin(own, {})
    assert frames(own, session, [0])["frames"][0]["objects"] == []
    answer = own.post(f"{SESSIONS}/{session}/prompts", {"texts": [{"text": "blue square"}]})
    assert [one["label"] for one in answer["objects"]] == ["blue square"]
    answer = frames(own, session, [1], texts=[{"text": "red circle"}])
    assert [one["label"] for one in answer["frames"][0]["objects"]] == ["blue square", "red circle"]
    many = [{"text": f"thing {number}"} for number in range(15)]
    refused = own.post(f"{SESSIONS}/{session}/prompts", {"texts": many}, 409)
    assert "16 texts" in refused["message"]


def test_a_session_has_no_more_objects_than_it_may_have(own: Client) -> None:
    session = begin(own, {"most_objects": 1})
    clicks = [{"points": [{"x": x, "y": y}]} for x, y in (red_at(0), blue_at(0))]
    refused = frames(own, session, [0], expect=409, prompts=clicks)
    assert "may follow 1" in refused["message"]


def test_a_decoder_that_died_costs_a_warning_and_no_id(own: Client, tracking: FakeTracking) -> None:
    session = begin(own)
    before = frames(own, session, [0])["frames"][0]
    tracking.die()
    (after,) = frames(own, session, [1])["frames"]
    assert [one["id"] for one in after["objects"]] == [one["id"] for one in before["objects"]]
    assert after["warnings"]
    assert frames(own, session, [2])["frames"][0]["warnings"] == []


def test_sessions_belong_to_the_tenant_that_began_them(start_server: ServerFactory, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    keys = {name: keyfile.add(file, name) for name in ("acme", "other")}
    with start_server(api_keys_file=file) as url:
        client = Client(url)
        assert client.send(SESSIONS, {}).status_code == 401
        mine: dict[str, Any] = {"params": {"api_key": keys["acme"]}}
        theirs: dict[str, Any] = {"params": {"api_key": keys["other"]}, "timeout": PATIENCE_S}
        session = begin(client, {}, **mine)
        path = f"{url}{SESSIONS}/{session}"
        image = {"image": as_json(picture(0))}
        assert requests.get(path, timeout=PATIENCE_S).status_code == 401
        assert requests.get(path, **theirs).status_code == 404
        assert requests.delete(path, **theirs).status_code == 404
        assert requests.post(f"{path}/frames", json=image, **theirs).status_code == 404
        assert requests.get(url + SESSIONS, **theirs).json()["sessions"] == []
        client.post(f"{SESSIONS}/{session}/frames", image, **mine)


def test_a_tenant_has_so_many_sessions_and_no_more(start_server: ServerFactory) -> None:
    with start_server(video_sessions=2) as url:
        client = Client(url)
        session = begin(client, {})
        begin(client, {})
        refused = client.send(SESSIONS, {})
        assert (refused.status_code, refused.headers["Retry-After"]) == (429, "10")
        assert "delete one" in refused.json()["message"]
        requests.delete(f"{url}{SESSIONS}/{session}", timeout=PATIENCE_S)
        begin(client, {})


def test_without_the_store_nothing_is_answered(start_server: ServerFactory) -> None:
    store = MemorySessions()
    with start_server(video=fake_video(store=store)) as url:
        client = Client(url)
        session = begin(client)
        store.away = True
        assert client.send(SESSIONS, {}).status_code == 503
        frames(client, session, [0], expect=503)
        store.away = False
        frames(client, session, [0])


def test_a_frame_that_takes_too_long_is_504(start_server: ServerFactory, tracking: FakeTracking) -> None:
    tracking.expired = True
    with start_server(video=fake_video(tracking)) as url:
        client = Client(url)
        session = begin(client)
        frames(client, session, [0], expect=504)
        tracking.expired = False
        assert frames(client, session, [0], frame=0)["next_frame"] == 1


def test_where_videos_are_off_the_routes_say_so_and_are_not_announced(start_server: ServerFactory) -> None:
    with start_server(video=None, model="sam3") as url:
        client = Client(url)
        for answer in (
            client.send(SESSIONS, {}),
            client.send(f"{SESSIONS}/{MISSING}/frames", {"image": as_json(picture(0))}),
            client.send(f"{SESSIONS}/{MISSING}/prompts", {"texts": [{"text": "red"}]}),
            requests.get(url + SESSIONS, timeout=PATIENCE_S),
        ):
            assert answer.status_code == 501
            assert "SAM3_VIDEO=true" in answer.json()["message"]
        document = requests.get(f"{url}/openapi.json", timeout=PATIENCE_S).text
        assert "/sam3/video" not in document
        assert "VideoSession" not in document


def test_the_routes_are_documented(client: Client) -> None:
    paths = requests.get(f"{client.url}/openapi.json", timeout=PATIENCE_S).json()["paths"]
    video = {path: sorted(methods) for path, methods in paths.items() if path.startswith("/sam3/video")}
    assert video == {
        SESSIONS: ["get", "post"],
        f"{SESSIONS}/{{session_id}}": ["delete", "get"],
        f"{SESSIONS}/{{session_id}}/frames": ["post"],
        f"{SESSIONS}/{{session_id}}/prompts": ["post"],
        f"{SESSIONS}/{{session_id}}/propagate": ["post"],
    }


def test_every_example_works(start_server: ServerFactory) -> None:
    with start_server() as url:
        client = Client(url)
        paths = requests.get(f"{url}/openapi.json", timeout=PATIENCE_S).json()["paths"]
        for path in (SESSIONS, f"{SESSIONS}/{{session_id}}/frames", f"{SESSIONS}/{{session_id}}/prompts"):
            examples = paths[path]["post"]["requestBody"]["content"]["application/json"]["examples"]
            assert examples
            for example in examples.values():
                session = begin(client, {"texts": [{"text": "green circle"}]})
                if path.endswith("prompts"):
                    clicks = [{"points": [{"x": 10, "y": 10}]}, {"points": [{"x": 50, "y": 50}]}]
                    frames(client, session, [0], prompts=clicks)
                client.post(path.format(session_id=session), example["value"])
                requests.delete(f"{url}{SESSIONS}/{session}", timeout=PATIENCE_S)
