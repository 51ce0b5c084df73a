"""What `make chaos` does, in small: faults on real processes under steady load. One cluster for the module.

Dead encoders, decoders, pool shards and nodes are in tests/integration.
"""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from harness.cluster import ROOT

pytestmark = pytest.mark.slow
FAULTS = ("images", "controller", "hang", "model", "haproxy")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """By fault, what came of the requests."""
    folder = tmp_path_factory.mktemp("chaos")
    output, log = folder / "results.json", folder / "log.txt"
    command = [sys.executable, "-m", "drills.chaos", "--json", str(output)]
    chosen = [word for fault in FAULTS for word in ("--fault", fault)]
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("SAM3_", "RAY_"))
    }
    with log.open("w") as file:
        subprocess.run(
            [*command, *chosen], cwd=ROOT, env=environment, stdout=file, stderr=file, timeout=850, check=False
        )
    assert output.exists(), log.read_text()[-4000:]
    return {one["name"]: one for one in json.loads(output.read_text())}


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault != "haproxy"])
def test_no_accepted_request_fails(results: dict[str, dict[str, Any]], fault: str) -> None:
    found = results[fault]["outcome"]
    assert found["requests"] > 0
    assert found["failed"] == 0, found["errors"]


def test_a_dead_haproxy_is_replaced_and_requests_are_answered_again(
    results: dict[str, dict[str, Any]],
) -> None:
    found = results["haproxy"]["outcome"]
    assert found["answered"] > 0
    assert results["haproxy"]["answered_after"] > 0
