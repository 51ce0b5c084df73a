"""Environments of their own for tools from PyPI, and drivers of `tests/support` that run in them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from harness.server import ROOT

KEPT = "TOOL_ENVIRONMENTS"
"""Names a folder where environments are kept, so that further runs install nothing."""


def environment_with(folder: Path, *packages: str, beside: bool = False) -> Path:
    """The folder `bin` of an environment with these packages. beside: it has this environment's packages as well."""
    if kept := os.environ.get(KEPT):
        folder = Path(kept) / "+".join((*packages, *(["beside"] if beside else [])))
        folder.mkdir(parents=True, exist_ok=True)
    made, done = folder / "env", folder / "installed"
    if done.exists():
        return made / "bin"
    _run(sys.executable, "-m", "venv", "--clear", made)
    if beside:
        there = [path for path in sys.path if path.endswith("site-packages")]
        (site,) = (made / "lib").glob("python*/site-packages")
        (site / "there.pth").write_text("\n".join(there) + "\n")
    _run(made / "bin/python", "-m", "pip", "install", "--quiet", *packages)
    done.touch()
    return made / "bin"


def driven(programs: Path, module: str, *words: object) -> Any:
    """The JSON in the last line that a module prints, run by the Python of an environment."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    output = _run(programs / "python", "-m", module, *words, cwd=ROOT, env=environment)
    return json.loads(output.splitlines()[-1])


def _run(*words: object, **options: Any) -> str:
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return str(done.stdout)
