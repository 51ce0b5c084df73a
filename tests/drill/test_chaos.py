"""Faults on real processes under steady load: see drills/chaos.py. One cluster for all of them."""

from typing import Any

import pytest

from drills.chaos import ALLOWED_TO_FAIL, FAULTS, HANGS, MOST_WAIT
from harness.programs import report_of


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """By fault, what came of the requests."""
    return {one["name"]: one for one in report_of("drills.chaos", tmp_path_factory.mktemp("chaos"))}


@pytest.mark.parametrize("fault", [fault.name for fault in FAULTS if fault.name not in ALLOWED_TO_FAIL])
def test_no_accepted_request_fails(results: dict[str, Any], fault: str) -> None:
    found = results[fault]["outcome"]
    assert found["requests"] > 0
    assert found["failed"] == 0, found["errors"]


@pytest.mark.parametrize("fault", HANGS)
def test_nobody_waits_for_a_replica_that_hangs(results: dict[str, Any], fault: str) -> None:
    found = results[fault]
    assert found["outcome"]["latency"]["max"] <= MOST_WAIT * found["recovery_s"]


@pytest.mark.parametrize("fault", ALLOWED_TO_FAIL)
def test_a_dead_proxy_is_replaced_and_requests_are_answered_again(
    results: dict[str, Any], fault: str
) -> None:
    assert results[fault]["outcome"]["answered"] > 0
    assert results[fault]["answered_after"] > 0
    refused = [error for error in results[fault]["outcome"]["errors"] if "Cannot connect" in error]
    assert not refused, "new connections wait until it is back"
