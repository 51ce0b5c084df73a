"""The planner's arithmetic against a server: what single kinds of requests cost foretells what a mix of them costs.

In CPU seconds, which do not depend on what else a machine does, as rates would.
"""

import json
from pathlib import Path

import pytest

from drills.capacity import NAME, measure, report, write
from harness.server import server_process
from harness.usage import tree
from serve_app.capacity import FORECAST_FACTOR, known_costs, read_costs


def test_costs_of_single_kinds_foretell_those_of_a_mix(tmp_path: Path) -> None:
    with server_process(tmp_path, model="tiny") as server:
        measured = measure(server.url, tree(server.process.pid), seconds=2)
    assert {name: phase.failed for name, phase in measured.phases.items() if phase.failed} == {}
    assert 1 / FORECAST_FACTOR < measured.foretold_work / measured.measured_work < FORECAST_FACTOR

    costs = measured.costs
    for part in (costs.known_core_s, costs.new_core_s, costs.encode_s, costs.click_s, costs.concept_s):
        assert 0 < part < 1, "a part of a request is some of a second's work"
    assert costs.new_core_s > costs.known_core_s, "reading an image costs something"
    assert measured.foretold_rps(cores=2) > 0
    assert "foretold" in report(measured, cores=2)

    figures = tmp_path / "figures.json"
    figures.write_text("{}")
    write(figures, costs)
    written = read_costs(str(figures))[NAME]
    assert written.encode_s == pytest.approx(costs.encode_s, abs=1e-6)
    assert written.embedding_bytes == known_costs()[NAME].embedding_bytes
    assert json.loads(figures.read_text())[NAME]["source"] == "measured"
