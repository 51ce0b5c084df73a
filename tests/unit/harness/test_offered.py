import math
from typing import Any

import pytest
import requests

from harness.offered import Answer, offered, one_by_one, outcome
from serve_app.http.app import create_app
from serve_app.settings import Settings
from tests.support.fake_segmenter import FakeSegmenter
from tests.support.http_server import serving
from tests.support.scenes import as_json, encoded, scene


def answer(
    sent: float, seconds: float, status: int = 200, retry_after: bool = False, error: str = ""
) -> Answer:
    return Answer(sent, sent + seconds, status, retry_after, error)


def test_a_span_is_judged_by_what_was_sent_in_it() -> None:
    answers = [
        answer(0.5, 0.1),  # before
        answer(1.0, 0.5),
        answer(2.0, 3.0),
        answer(3.0, 0.01, 503, retry_after=True),
        answer(4.0, 0.2, 503, error="no Retry-After"),
        answer(4.5, 0.2, 0, error="connection refused"),
        answer(9.0, 0.1),  # after
    ]
    found = outcome(answers, 1.0, 6.0)
    assert (found.requests, found.answered, found.refused, found.failed) == (5, 2, 1, 2)
    assert found.stall_s == pytest.approx(3.5), "between the answers at 1.5 and at 5"
    assert found.latency.max == 3.0
    assert found.refusal.max == pytest.approx(0.01)
    assert found.errors == ("0 connection refused", "503 no Retry-After")


def test_silence_is_one_long_stall() -> None:
    found = outcome([answer(1.0, 0.2, 0)], 0.0, 7.0)
    assert found.stall_s == 7.0
    assert outcome([answer(0.5, 0.5)], 0.0, 7.0).stall_s == 6.0, "nothing after the one answer"
    assert math.isnan(found.latency.p50)


def test_requests_go_out_at_their_rate_and_every_answer_is_awaited() -> None:
    def ask(number: int) -> tuple[str, dict[str, Any]]:
        return "/sam3/embed_image", {"image": as_json(encoded(scene())), "image_id": f"{number}"}

    with serving(create_app(FakeSegmenter(), Settings())) as url:
        with offered(url, ask, rate=200.0) as load:
            while load.sent < 20:
                pass
        assert len(load.answers) == load.sent >= 20
    assert not load.waiting
    assert all(each.ok for each in load.answers)


def test_single_answers_are_counted_and_must_be_right() -> None:
    asked: list[int] = []

    def ask(number: int) -> tuple[str, dict[str, Any]]:
        asked.append(number)
        return "/sam3/embed_image", {"image": as_json(encoded(scene()))} if number < 3 else {}

    with serving(create_app(FakeSegmenter(), Settings())) as url:
        assert one_by_one(url, ask, 3) > 0
        assert asked == [0, 1, 2]
        with pytest.raises(requests.HTTPError):
            one_by_one(url, ask, 4)
