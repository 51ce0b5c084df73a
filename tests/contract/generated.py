"""Requests generated from `/openapi.json`, valid and not: no server error, and nothing undocumented."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support.patience import PATIENCE_S

HERE = Path(__file__).parent
LONG = 600
"""Characters of a line of a report: a generated body hides the rest otherwise."""


def check_generated_requests(server: str, folder: Path, examples: int, *options: str) -> None:
    """All of schemathesis' checks, on at most so many examples of each phase of a route. options: of schemathesis."""
    command = [
        *(sys.executable, "-m", "schemathesis.cli", f"--config-file={HERE / 'schemathesis.toml'}"),
        *("run", f"{server}/openapi.json", "--checks=all", f"--max-examples={examples}", "--no-color"),
        f"--request-timeout={PATIENCE_S:.0f}",
        *options,
    ]
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1])}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    told = "\n".join(line[:LONG] for line in done.stdout.splitlines())
    assert done.returncode == 0, told[-8000:] + done.stderr[-2000:]
    generated = re.search(r"(\d+) generated, \1 passed", done.stdout)
    assert generated is not None
    assert int(generated[1]) > 3 * examples
