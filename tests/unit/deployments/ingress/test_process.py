"""The ingress is many small processes: what they import is memory and start-up time of each."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "torchvision", "sam3", "open_clip", "timm")


@pytest.mark.parametrize(
    "modules",
    [
        "serve_app.ingress",
        "deployments.pool.actor",
        # Where the graph is built, and in each replica before its constructor runs.
        "serve_app.builder",
        "serve_app.cli.main, serve_app.cli.segment, serve_app.cli.up",
    ],
)
def test_it_never_imports_torch(modules: str) -> None:
    script = f"import sys, {modules}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0), done.stderr
