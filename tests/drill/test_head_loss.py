"""The head dies under load, or the server of its state with it: see drills/head_loss.py."""

from pathlib import Path

import pytest

from harness.programs import report_of


@pytest.mark.parametrize("lost", ["head", "server"])
def test_a_head_that_dies_fails_no_click_and_no_probe(lost: str, tmp_path: Path) -> None:
    phases = report_of("drills.head_loss", tmp_path, "--lose", lost)
    assert len(phases) == 7
    assert {phase["name"]: len(phase["seconds"]) for phase in phases if not phase["seconds"]} == {}
    failed = {phase["name"]: phase["failed"] + phase["probes_failed"] for phase in phases}
    assert {name: problems for name, problems in failed.items() if problems} == {}
