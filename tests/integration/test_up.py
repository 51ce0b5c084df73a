"""The server's start and end, as somebody at a terminal meets them. Other ends: test_secrets, and starts and
two_ingresses in tests/drill."""

import subprocess

import psutil
import pytest

from harness.server import STOP_S, ServerProcess, command, environment, get


@pytest.fixture
def port(untrained_server: ServerProcess) -> str:
    return untrained_server.url.rpartition(":")[2]


def test_the_greeting_says_where_to_go(untrained_server: ServerProcess, port: str) -> None:
    for part in (f":{port}", f":{port}/docs", "tiny", "curl -sS"):
        assert part in untrained_server.text()


def test_a_second_server_on_the_same_port_is_refused(untrained_server: ServerProcess, port: str) -> None:
    second = subprocess.run(
        command("up"), env=environment(port=port), capture_output=True, text=True, check=False
    )
    assert second.returncode == 1
    assert "already listens" in second.stderr
    assert get(f"{untrained_server.url}/readiness") == {"status": "ready"}, "the first one is left alone"


def test_the_run_folder_is_private(untrained_server: ServerProcess) -> None:
    assert untrained_server.run_folder().stat().st_mode & 0o077 == 0


def test_control_c_leaves_nothing_behind(untrained_server: ServerProcess) -> None:
    """The last test of this server."""
    folder = untrained_server.run_folder()
    started = untrained_server.descendants()
    assert len(started) > 10
    untrained_server.stop()
    _, alive = psutil.wait_procs(started, timeout=STOP_S)
    assert alive == []
    assert not folder.exists()
    assert "stopped" in untrained_server.text().splitlines()
    assert "Traceback" not in untrained_server.text()
