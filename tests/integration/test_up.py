"""`sam3-serve up` from start to end, as somebody at a terminal meets it."""

import shutil
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from harness.server import STOP_S, command, environment, get, server_process
from serve_app.cli.addresses import free_ports

pytestmark = pytest.mark.slow


def test_start_stop_and_start_again(tmp_path: Path) -> None:
    with server_process(tmp_path) as server:
        port = server.url.rpartition(":")[2]
        text = server.text()
        for part in (server.url, f"{server.url}/docs", "tiny-random", "curl -sS"):
            assert part in text

        second = subprocess.run(
            command("up"),
            env=environment(port=port),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert second.returncode == 1
        assert "already listens" in second.stderr
        assert get(f"{server.url}/readiness") == {"status": "ready"}, "the first one is left alone"

        folder = server.run_folder()
        assert folder.stat().st_mode & 0o077 == 0, "no other user can look into it"
        started = server.descendants()
        assert len(started) > 10
        assert server.stop(signal.SIGINT) == 0
        _, alive = psutil.wait_procs(started, timeout=STOP_S)
        assert alive == []
        assert not folder.exists()
        assert server.text().rstrip().endswith("stopped")

    with server_process(tmp_path, port=port) as again:
        assert get(f"{again.url}/readiness") == {"status": "ready"}
        started = again.descendants()
        folder = again.run_folder()
        again.process.kill()  # it gets no chance to clean up
        again.process.wait(STOP_S)
        _, alive = psutil.wait_procs(started, timeout=STOP_S)
        assert alive == []
        assert not folder.exists()


def test_a_server_that_cannot_load_its_model_says_why(tmp_path: Path) -> None:
    checkpoint = tmp_path / "sam3.pt"
    checkpoint.write_bytes(b"not a checkpoint")
    settings = environment(model="tiny", checkpoint=str(checkpoint), port=str(free_ports(1)[0]))
    done = subprocess.run(
        command("up"), env=settings, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 1
    assert "could not start" in done.stderr
    assert "sam3.pt is no checkpoint" in done.stderr
    folder = Path(done.stderr.strip().splitlines()[-1].removeprefix("logs: "))
    assert folder.exists(), "the logs are kept"
    shutil.rmtree(Path(*folder.parts[:3]))
