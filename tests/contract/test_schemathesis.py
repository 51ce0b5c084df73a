"""Requests generated from `/openapi.json`, valid and not: no server error, and nothing undocumented."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
EXAMPLES = os.environ.get("SAM3_SCHEMATHESIS_EXAMPLES", "300")


@pytest.mark.slow
def test_all_checks_hold(server: str, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "schemathesis.cli",
        f"--config-file={HERE / 'schemathesis.toml'}",
        "run",
        f"{server}/openapi.json",
        "--checks=all",
        f"--max-examples={EXAMPLES}",
        "--request-timeout=120",  # a small machine, asked for 256 masks at once
        "--no-color",
    ]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=850, check=False
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    generated = re.search(r"(\d+) generated, \1 passed", done.stdout)
    assert generated is not None
    assert int(generated[1]) > 3 * int(EXAMPLES)
