"""The contract once more, against a real `sam3-serve up` with the bundled model instead of the stand-in."""

import os
import subprocess
import sys

from harness.server import ROOT, ServerProcess


def test_the_contract_holds_on_a_real_server(tiny_server: ServerProcess) -> None:
    done = subprocess.run(
        # The generated requests have a drill of their own; here they would take minutes.
        [
            *(sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "no:cacheprovider"),
            *("tests/contract", "--ignore", "tests/contract/test_schemathesis.py"),
        ],
        cwd=ROOT,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
            "SAM3_CONTRACT_URL": tiny_server.url,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
