"""The whole contract once more, against a real `sam3-serve up` with the bundled model instead of the stand-in."""

import os
import subprocess
import sys
from pathlib import Path

from harness.server import server_process

ROOT = Path(__file__).parents[2]


def test_the_contract_holds_on_a_real_server(tmp_path: Path) -> None:
    with server_process(tmp_path, model="tiny") as server:
        done = subprocess.run(
            # The generated requests have a test of their own; here they would take minutes.
            [
                *(sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider"),
                *("tests/contract", "--deselect", "tests/contract/test_schemathesis.py"),
            ],
            cwd=ROOT,
            env=os.environ | {"SAM3_CONTRACT_URL": server.url},
            capture_output=True,
            text=True,
            timeout=850,
            check=False,
        )
    assert done.returncode == 0, done.stdout[-6000:]
