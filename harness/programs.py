"""Running a drill as its own program, as `python -m drills.chaos` does, and reading its report."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness.machine import ROOT
from harness.orphans import end_with_parent


def run_program(module: str, *arguments: str) -> int:
    """Its exit status. It prints where this process does, and knows nothing of the settings of this environment."""
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith(("SAM3_", "RAY_"))},
        preexec_fn=end_with_parent,
        check=False,
    ).returncode


def report_of(module: str, folder: Path, *arguments: str) -> Any:
    """The report that a program writes with --json, whatever its exit status. Raises FileNotFoundError without one."""
    report = folder / f"{module}.json"
    run_program(module, "--json", str(report), *arguments)
    return json.loads(report.read_text())
