"""The zygote's check that it may fork: in processes of their own, because a test's has threads."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]


@pytest.mark.parametrize(
    ("blocked_s", "patience_s", "left"),
    [(0.0, 60.0, 1), (0.2, 60.0, 1), (60.0, 0.2, 2)],
    ids=["ended", "about to end", "staying"],
)
def test_threads_are_awaited_while_they_end(blocked_s: float, patience_s: float, left: int) -> None:
    program = (
        "import sys, threading, time; from deployments.workflows.zygote import threads_left;"
        "blocked, patience = map(float, sys.argv[1:]);"
        "threading.Thread(target=time.sleep, args=[blocked], daemon=True).start();"
        "print(threads_left(patience))"
    )
    command = [sys.executable, "-c", program, str(blocked_s), str(patience_s)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    assert int(done.stdout) == left
