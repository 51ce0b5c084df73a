"""Videos on real deployments: what survives the death of a decoder, and of all that holds its state."""

import threading
from typing import Any

import pytest
import requests

from harness.server import ServerProcess
from harness.waiting import wait_until
from tests.support.clips import blue_at, picture, red_at
from tests.support.patience import PATIENCE_S
from tests.support.scenes import as_json

SESSIONS = "/sam3/video/sessions"


@pytest.fixture
def server(untrained_server: ServerProcess) -> ServerProcess:
    return untrained_server


def post(server: ServerProcess, path: str, **document: Any) -> dict[str, Any]:
    answer = requests.post(server.url + path, json=document, timeout=PATIENCE_S)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def begin(server: ServerProcess) -> str:
    """A session with two clicked objects in its first frame."""
    session: str = post(server, SESSIONS)["session_id"]
    clicks = [{"points": [{"x": x, "y": y}]} for x, y in (red_at(0), blue_at(0))]
    assert ids(send(server, session, 0, prompts=clicks)) == {1, 2}
    return session


def send(server: ServerProcess, session: str, number: int, **fields: Any) -> dict[str, Any]:
    body = {"image": as_json(picture(number)), "frame": number, **fields}
    (found,) = post(server, f"{SESSIONS}/{session}/frames", **body)["frames"]
    assert found["frame"] == number
    return dict(found)


def ids(frame: dict[str, Any]) -> set[int]:
    """Of all objects; with untrained weights, some have no mask."""
    return {*frame["hidden"], *(one["id"] for one in frame["objects"])}


def replaced(server: ServerProcess, part: str, before: set[int]) -> bool:
    now = {process.pid for process in server.named(part)}
    return len(now) == len(before) and not now & before


def test_a_killed_decoder_goes_on_from_the_state_that_was_saved(server: ServerProcess) -> None:
    session = begin(server)
    for number in range(1, 4):
        send(server, session, number)
    (victim,) = server.named("ServeReplica:sam3:PromptDecoder")
    end = threading.Timer(0.3, victim.kill)
    end.start()
    number, after = 4, 0
    while after < 5:
        assert ids(send(server, session, number)) == {1, 2}, "no request fails, and ids stay"
        after += replaced(server, "ServeReplica:sam3:PromptDecoder", {victim.pid})
        number += 1
    end.join()
    found = requests.get(f"{server.url}{SESSIONS}/{session}", timeout=PATIENCE_S).json()
    assert found["next_frame"] == number


def test_without_any_saved_state_the_ids_go_on_by_masks_and_the_answer_says_so(server: ServerProcess) -> None:
    session = begin(server)
    send(server, session, 1)
    shards = server.named("PoolShard")
    victims = [*server.named("ServeReplica:sam3:PromptDecoder"), *shards]
    for victim in victims:
        victim.kill()
    wait_until(lambda: replaced(server, "PoolShard", {one.pid for one in shards}))
    after = send(server, session, 2)
    assert ids(after) == {1, 2}
    assert "last masks" in after["warnings"][0]
    assert send(server, session, 3)["warnings"] == []


def test_frames_leave_nothing_in_the_pool(server: ServerProcess) -> None:
    def kept() -> dict[str, int]:
        listed = requests.get(f"{server.url}/sam3/images", timeout=PATIENCE_S).json()["images"]
        return {one["image_id"]: one["embedding_bytes"] for one in listed}

    before = kept()
    session = begin(server)
    send(server, session, 1)
    assert kept() == before
    assert requests.delete(f"{server.url}{SESSIONS}/{session}", timeout=PATIENCE_S).status_code == 200
    answer = requests.get(f"{server.url}{SESSIONS}/{session}", timeout=PATIENCE_S)
    assert answer.status_code == 404
