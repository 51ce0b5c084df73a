"""SIGTERM: nobody new gets in, and whoever is in gets an answer."""

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from loadtest.images import as_json, drawing
from loadtest.offered import offered
from loadtest.server import server_process

pytestmark = pytest.mark.slow
RATE = 20.0
BEFORE_S = 3.0


def ask(number: int) -> tuple[str, dict[str, Any]]:
    """New images all the time: each has to be encoded, one at a time."""
    prompts = [{"points": [{"x": 70, "y": 80, "positive": True}]}]
    return "/sam3/visual_segment", {"image": as_json(drawing(number)), "prompts": prompts}


def test_requests_that_were_accepted_are_answered_before_the_end(tmp_path: Path) -> None:
    with server_process(tmp_path, encoder_batch_size="1") as server:
        with offered(server.url, ask, RATE) as load:
            time.sleep(BEFORE_S)
            in_flight = dict(load.waiting)
            told = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            while all(answer.status for answer in load.answers):
                assert time.monotonic() - told < 60, "the door stays open"
                time.sleep(0.05)
        assert server.process.wait(60) == 0
    assert in_flight, "something was under way"
    came_in = [answer for answer in load.answers if answer.sent < told]
    assert [answer for answer in came_in if not (answer.ok or answer.refused)] == []
    assert any(answer.ok and answer.done > told for answer in came_in), "some were answered after the signal"
    late = [answer for answer in load.answers if not (answer.ok or answer.refused)]
    assert all("connect" in answer.error.lower() for answer in late), "the door is closed to others"
