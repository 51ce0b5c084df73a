"""The pool in clusters of its own: two nodes, one of which goes away, and one whose object store is watched."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.server import ROOT, environment

pytestmark = pytest.mark.slow
RAYS_BATCH = 100
"""Objects that Ray frees together; fewer wait a second."""


def run(module: str, folder: Path) -> Any:
    """A program of loadtest, in a process of its own: what it reports."""
    report = folder / "report.json"
    command = [sys.executable, "-m", module, "--json", str(report)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=850, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(report.read_text())


def test_the_loss_of_a_node_with_embeddings_and_a_shard_loses_no_image(tmp_path: Path) -> None:
    """Requests by id alone, all the while: see drills/node_loss.py."""
    found = run("drills.node_loss", tmp_path)
    assert found["lost"]["PoolShard"] == 1, "one of two shards was on the node"
    assert found["lost"]["ImageEncoder"] >= 1
    assert found["encoded_again"] > 0, "its embeddings were lost"
    assert found["outcome"]["failed"] == found["outcome"]["refused"] == 0, found["outcome"]
    assert found["outcome"]["latency"]["max"] < 30, "nobody waited for Ray to give the node up"


def test_the_object_store_stays_under_its_budget_and_is_empty_again_after_deletions(tmp_path: Path) -> None:
    """What the raylet says, while ten times as many images pass as fit: see drills/object_store.py."""
    found = run("drills.object_store", tmp_path)
    budget, embedding, under_way = found["budget"], found["embedding"], found["under_way"]
    assert embedding > 100 * 1024, "smaller ones would not be in the object store at all"
    assert found["passed"] > 9.9 * budget
    before = found["before"]
    for held in ("pinned", "used"):
        full = found["full"][held] - before[held]
        assert budget - 3 * embedding < full < 1.05 * budget
        assert found["deleted"][held] - before[held] < embedding
    assert found["peak"]["pinned"] - before["pinned"] < 1.05 * budget + under_way
    assert found["peak"]["used"] - before["used"] < 1.05 * budget + under_way + RAYS_BATCH * embedding
