"""The autoscaling policy in a real cluster: a burst, the way back, and zero. How fast, `make bench-scale` measures."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.images import as_json, drawing
from harness.offered import offered, one_by_one
from harness.server import ServerProcess, get, server_process

pytestmark = pytest.mark.slow
DECODER, ENCODER = "ServeReplica:sam3:PromptDecoder", "ServeReplica:sam3:ImageEncoder"
PATIENCE_S = 300.0
BURST = 3
"""Times what one decoder does, if ever so slowly."""


def ask(number: int) -> tuple[str, dict[str, Any]]:
    """Work for a decoder: many phrases on an image that is known after the first request."""
    prompts = [{"type": "text", "text": f"phrase {phrase}"} for phrase in range(8)]
    return "/sam3/concept_segment", {"image": as_json(drawing(number % 4)), "prompts": prompts}


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def replicas(server: ServerProcess, title: str) -> int:
    return len(server.named(title))


def test_a_burst_starts_replicas_and_idleness_stops_them_all(tmp_path: Path) -> None:
    scaling = {
        "decoder_max_replicas": "2",
        "scale_down_after_s": "2",
        "scale_down_step_s": "1",
        "scale_to_zero_after_s": "8",
        "scale_interval_s": "0.5",
    }
    with server_process(tmp_path, **scaling) as server:
        assert replicas(server, DECODER) == 1
        with offered(server.url, ask, BURST * one_by_one(server.url, ask, 12)) as load:
            until(lambda: replicas(server, DECODER) == 2)
            load.rate /= 60
            until(lambda: replicas(server, DECODER) == 1)
        until(lambda: replicas(server, DECODER) == replicas(server, ENCODER) == 0)
        assert get(server.url + "/readiness") == {"status": "ready"}, "it would answer, if later"
        assert replicas(server, DECODER) == 0, "asking does not wake it"
        with offered(server.url, ask, load.rate) as held:
            until(lambda: len(held.answers) > 5)
        assert [answer for answer in held.answers if not answer.ok] == []
    assert [answer for answer in load.answers if not (answer.ok or answer.refused)] == []
    assert any(answer.ok for answer in load.answers)
