"""Autoscaling and overload in real clusters: bursts, the way back, zero, and up to three times what can be answered."""

from pathlib import Path
from typing import Any

from harness.images import as_json, drawing
from harness.offered import offered, one_by_one
from harness.programs import run_program
from harness.server import ROOT, ServerProcess, get, server_process
from harness.waiting import wait_until

DECODER, ENCODER = "ServeReplica:sam3:PromptDecoder", "ServeReplica:sam3:ImageEncoder"
BURST = 3
"""Times what one decoder does, if ever so slowly."""


def ask(number: int) -> tuple[str, dict[str, Any]]:
    """Work for a decoder: many phrases on an image that is known after the first request."""
    prompts = [{"type": "text", "text": f"phrase {phrase}"} for phrase in range(8)]
    return "/sam3/concept_segment", {"image": as_json(drawing(number % 4)), "prompts": prompts}


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
            wait_until(lambda: replicas(server, DECODER) == 2)
            load.rate /= 60
            wait_until(lambda: replicas(server, DECODER) == 1)
        wait_until(lambda: replicas(server, DECODER) == replicas(server, ENCODER) == 0)
        assert get(server.url + "/readiness") == {"status": "ready"}, "it would answer, if later"
        assert replicas(server, DECODER) == 0, "asking does not wake it"
        with offered(server.url, ask, load.rate) as held:
            wait_until(lambda: len(held.answers) > 5)
        assert [answer for answer in held.answers if not answer.ok] == []
    assert [answer for answer in load.answers if not (answer.ok or answer.refused)] == []
    assert any(answer.ok for answer in load.answers)


def test_no_request_fails_in_bursts_from_zero_and_in_overload() -> None:
    """They are answered or refused: see drills/scaling.py. The drawings lie in reports/ then."""
    reports = ROOT / "reports"
    reports.mkdir(exist_ok=True)
    assert run_program("drills.scaling", "--output", str(reports)) == 0
