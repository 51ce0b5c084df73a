"""The server from start to end, as somebody at a terminal meets it. Other ends: test_secrets, and two_ingresses in
tests/drill."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from harness.server import (
    ROOT,
    STOP_S,
    ServerProcess,
    command,
    environment,
    get,
    one_start_at_a_time,
    server_process,
    wait_until_ready,
)
from serve_app.cli.addresses import free_ports
from tests.support.refusing_server import RULE


@contextmanager
def make_serve(folder: Path) -> Iterator[ServerProcess]:
    """`make serve` on a port of its own, in the environment that runs the tests."""
    (port,) = free_ports(1)
    output = folder / "output.txt"
    with ExitStack() as starting:
        starting.enter_context(one_start_at_a_time())
        process = psutil.Popen(
            ["make", "serve", f"VENV={sys.prefix}", f"PORT={port}"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=starting.enter_context(output.open("w")),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        running = ServerProcess(process, f"http://localhost:{port}", output)
        try:
            wait_until_ready(running)
            starting.close()
            yield running
        finally:
            if process.is_running():
                control_c(running)


def control_c(server: ServerProcess) -> None:
    """A terminal sends SIGINT to the whole foreground group."""
    os.killpg(server.process.pid, signal.SIGINT)
    server.process.wait(STOP_S)


def test_start_stop_and_start_again(tmp_path: Path) -> None:
    with make_serve(tmp_path) as server:
        port = server.url.rpartition(":")[2]
        for part in (f":{port}", f":{port}/docs", "tiny", "curl -sS"):
            assert part in server.text()

        second = subprocess.run(
            command("up"), env=environment(port=port), capture_output=True, text=True, check=False
        )
        assert second.returncode == 1
        assert "already listens" in second.stderr
        assert get(f"{server.url}/readiness") == {"status": "ready"}, "the first one is left alone"

        folder = server.run_folder()
        assert folder.stat().st_mode & 0o077 == 0, "no other user can look into it"
        started = server.descendants()
        assert len(started) > 10
        control_c(server)
        _, alive = psutil.wait_procs(started, timeout=STOP_S)
        assert alive == []
        assert not folder.exists()
        assert "stopped" in server.text().splitlines()
        assert "Traceback" not in server.text()
    with server_process(tmp_path, port=port) as again:
        assert get(f"{again.url}/readiness") == {"status": "ready"}
        assert again.stop(signal.SIGINT) == 0


def test_a_server_that_cannot_load_its_model_says_why(tmp_path: Path) -> None:
    checkpoint = tmp_path / "sam3.pt"
    checkpoint.write_bytes(b"not a checkpoint")
    settings = environment(model="tiny", checkpoint=str(checkpoint), port=str(free_ports(1)[0]))
    with one_start_at_a_time():
        done = subprocess.run(command("up"), env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "could not start" in done.stderr
    assert "sam3.pt is no checkpoint" in done.stderr
    logs = Path(done.stderr.strip().splitlines()[-1].removeprefix("logs: "))
    assert logs.exists(), "the logs are kept"
    shutil.rmtree(Path(*logs.parts[:3]))


def test_a_server_whose_haproxy_is_not_as_expected_says_so(tmp_path: Path) -> None:
    settings = environment(port=str(free_ports(1)[0]))
    refusing = command("up", module="tests.support.refusing_server")
    with one_start_at_a_time():
        done = subprocess.run(
            refusing, env=settings, capture_output=True, text=True, check=False, timeout=300
        )
    assert done.returncode == 1
    said, logs = done.stderr.strip().splitlines()
    assert said.startswith("Error: the server could not start: HAProxy is not started")
    assert f"{RULE}: 0 lines" in said
    shutil.rmtree(Path(*Path(logs.removeprefix("logs: ")).parts[:3]))
