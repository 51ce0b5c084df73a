"""The pool in a cluster of two nodes, one of which goes away."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from loadtest.server import ROOT, environment

pytestmark = pytest.mark.slow


def test_the_loss_of_a_node_with_embeddings_and_a_shard_loses_no_image(tmp_path: Path) -> None:
    """Requests by id alone, all the while: see loadtest/node_loss.py."""
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "loadtest.node_loss", "--json", str(report)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(report.read_text())
    assert found["lost"]["PoolShard"] == 1, "one of two shards was on the node"
    assert found["lost"]["ImageEncoder"] >= 1
    assert found["encoded_again"] > 0, "its embeddings were lost"
    assert found["outcome"]["failed"] == found["outcome"]["refused"] == 0
    assert found["outcome"]["latency"]["max"] < 30, "nobody waited for Ray to give the node up"
