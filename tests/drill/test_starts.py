"""Other ways to start a server: again on its port, without a model, and with a HAProxy that is not the one we know."""

import shutil
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import psutil

from harness.server import command, environment, get, one_start_at_a_time, server_process
from harness.waiting import wait_until
from serve_app.cli.addresses import free_ports
from tests.support.refusing_server import RULE


def test_a_stopped_server_starts_again_on_its_port(tmp_path: Path) -> None:
    with server_process(tmp_path) as first:
        assert first.stop(signal.SIGINT) == 0
    with server_process(tmp_path, port=first.url.rpartition(":")[2]) as second:
        assert get(f"{second.url}/readiness") == {"status": "ready"}


def test_a_server_that_is_ended_while_serve_starts_says_so(tmp_path: Path) -> None:
    with one_start_at_a_time(), (tmp_path / "said").open("w") as said:
        settings = environment(port=str(free_ports(1)[0]))
        process = psutil.Popen(command("up"), env=settings, stdout=said, stderr=subprocess.STDOUT)
        wait_until(lambda: any("ServeController" in name for name in names(process)))
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0
    assert (tmp_path / "said").read_text().split() == ["starting", "Ray", "stopping", "stopped"]


def names(process: psutil.Popen) -> list[str]:
    """The command lines of its children."""
    found = []
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            found.append(" ".join(child.cmdline()))
    return found


def test_a_server_whose_haproxy_is_not_as_expected_says_so(tmp_path: Path) -> None:
    settings = environment(port=str(free_ports(1)[0]))
    refusing = command("up", module="tests.support.refusing_server")
    with one_start_at_a_time():
        done = subprocess.run(refusing, env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    said, logs = done.stderr.strip().splitlines()
    assert said.startswith("Error: the server could not start: HAProxy is not started")
    assert f"{RULE}: 0 lines" in said
    shutil.rmtree(Path(*Path(logs.removeprefix("logs: ")).parts[:3]))


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
