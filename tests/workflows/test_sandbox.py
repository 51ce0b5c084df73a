"""The remains of a runner that was killed. One that closes leaves nothing either: see the fixture `sandbox`."""

import subprocess
import sys
from pathlib import Path

import pytest

from harness.waiting import wait_until

ROOT = Path(__file__).parents[2]
WAIT_S = 60.0
RUNNER = """
import os, signal, sys, tempfile
from deployments.workflows.sandbox import Sandbox
from serve_app.settings import Settings
from serve_app.workflows import workflow_config
tempfile.tempdir = sys.argv[1]
sandbox = Sandbox(workflow_config(Settings()).sandbox())
sandbox.fork()
assert os.listdir(sys.argv[1])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_runner_leaves_nothing_behind(tmp_path: Path) -> None:
    pytest.importorskip("roboflow_workflows", reason="the extra `workflows` is not installed")
    runner = [sys.executable, "-c", RUNNER, str(tmp_path)]
    done = subprocess.run(runner, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == -9, done.stderr
    wait_until(lambda: not list(tmp_path.iterdir()), WAIT_S)
