"""The clusters of tests and drills, which must not stay on a machine whatever happens to their program."""

import subprocess
import sys
from pathlib import Path

from harness.waiting import wait_until
from serve_app.cli.janitor import started_for

PROGRAM = """
from harness.local_cluster import local_cluster
with local_cluster() as cluster:
    cluster.start_head()
    print(cluster.folder, flush=True)
    input()
"""


def test_nothing_of_a_cluster_outlives_its_program() -> None:
    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        folder = Path(program.stdout.readline().strip())
        assert len(started_for(folder, ())) > 5
        program.kill()  # it gets no chance to clean up
    wait_until(lambda: not folder.exists(), 60)
    assert started_for(folder, ()) == []
