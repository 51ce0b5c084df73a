"""The planner against the figures of a load test of the real server."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from drills.foretold import loads_of, measured_load
from serve_app.capacity import FORECAST_FACTOR, known_costs, load

TINY = known_costs()["tiny-cpu"]
RECORD: dict[str, Any] = json.loads(
    (Path(__file__).parents[3] / "docs/examples/loadtest-mixed.json").read_text(encoding="utf-8")
)
"""The steady load of `make loadtest`, on the machine on which `tiny-cpu` was measured."""


def test_the_package_figures_foretell_the_recorded_load() -> None:
    assert RECORD["by_kind"]["all"]["failed"] == 0
    foretold, measured = load(TINY, *loads_of(RECORD)), measured_load(RECORD)
    for part, cores in asdict(measured).items():
        ratio = asdict(foretold)[part] / cores
        assert 1 / FORECAST_FACTOR < ratio < FORECAST_FACTOR, (part, ratio)


def test_every_request_of_the_report_is_counted() -> None:
    report = {
        "timeline": [{"at": 1.0}, {"at": 10.0}],
        "by_kind": {
            "all": {"requests": 100},
            "click": {"requests": 50},
            "embed": {"requests": 10},
            "concept": {"requests": 20},
            "concept-hot": {"requests": 20},
        },
    }
    demands = loads_of(report)
    assert sum(demand.rps for demand in demands) == pytest.approx(10)
    assert sum(demand.clicks for demand in demands) == pytest.approx(5)
    assert sum(demand.new_images for demand in demands) == pytest.approx(3), (
        "embeds, and concepts on new images"
    )
    assert sum(demand.concepts * demand.prompts for demand in demands) == pytest.approx(2 * 2 + 2 * 2.5)


def test_an_unknown_kind_of_request_is_not_left_out() -> None:
    with pytest.raises(ValueError, match="bulk"):
        loads_of({"timeline": [{"at": 1.0}], "by_kind": {"bulk": {"requests": 1}}})
