"""The bundled checkpoint does what its card says, on all 200 scenes of each set; docs/tiny.md has the figures."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.server import ROOT
from training.evaluate import SETS


@pytest.fixture(scope="module")
def figures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out: Path = tmp_path_factory.mktemp("gate") / "figures.json"
    command = [sys.executable, "-W", "ignore", "-m", "training.evaluate", "--json", str(out)]
    # Its status is that of all bars, which the tests below tell one by one.
    subprocess.run(command, cwd=ROOT, check=False)
    found: dict[str, Any] = json.loads(out.read_text())
    return found


@pytest.mark.parametrize(("name", "figure"), [(name, figure) for name in SETS for figure in SETS[name].gate])
def test_the_bars_are_held(figures: dict[str, Any], name: str, figure: str) -> None:
    assert figures[name][figure] >= SETS[name].gate[figure]
