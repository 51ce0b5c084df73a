"""A template with a standard library module in place of Ray makes workers, as the raylet's script asks for them."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from ray._private import services

from harness.waiting import wait_until
from serve_app.cli.worker_template import running, start, template
from serve_app.cli.worker_template.running import setup_script, worker_template
from serve_app.cli.worker_template.start import CONTEXT, RAYS_SCRIPT, SOCKET
from tests.support.patience import PATIENCE_S

PROGRAM = """
import contextlib, sys
from serve_app.cli.worker_template import template
template.WITHOUT_RAY, template.SERVE, template.WITH_RAY = (), ("colorsys",), ()
template.class_ids = contextlib.nullcontext
{more}
template.main(int(sys.argv[1]))
"""
WORKER = """
import json, os, signal, sys
said = {
    "pid": os.getpid(), "parent": os.getppid(), "arguments": sys.argv[1:], "folder": os.getcwd(), "path": sys.path[0],
    "blocked": [int(one) for one in signal.pthread_sigmask(signal.SIG_BLOCK, ())], "name": __name__,
    "children": str(signal.getsignal(signal.SIGCHLD)), "imported": "colorsys" in sys.modules,
    "late": "late" in sys.modules,
    "environment": dict(os.environ),
}
print(json.dumps(said), flush=True)
print("to errors", file=sys.stderr, flush=True)
if sys.stdin.read() == "fail":
    sys.exit(3)
"""
RAYS = "import sys; print('in its own way', sys.argv[1:])"


class Server:
    """A template with the scripts and variables that a raylet has, which starts workers as a raylet does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.worker, self.rays = folder / "worker.py", folder / "rays.py"
        self.worker.write_text(WORKER)
        self.rays.write_text(RAYS)
        self.script = setup_script(str(self.rays))

    def start(self, *arguments: str, context: Any = None, **environment: str) -> "subprocess.Popen[str]":
        command = [
            sys.executable,
            self.script,
            str(self.worker),
            *arguments,
            CONTEXT + json.dumps(context or {}),
            "--language=PYTHON",
        ]
        return subprocess.Popen(
            command,
            env={**os.environ, "RAY_RAYLET_PID": "7", **environment},
            cwd=self.folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def said(self, *arguments: str, context: Any = None, **environment: str) -> str:
        with self.start(*arguments, context=context, **environment) as process:
            return process.communicate("", timeout=PATIENCE_S)[0]

    def worker_said(self, *arguments: str, context: Any = None, **environment: str) -> dict[str, Any]:
        said = self.said(*arguments, context=context, **environment)
        return dict(json.loads(said))


@pytest.fixture
def more() -> str:
    """Code that the template's program runs before it answers."""
    return ""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str) -> Iterator[Server]:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(more=more))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    monkeypatch.setattr(running, "COMMAND", (str(program),))
    with worker_template(tmp_path / "t"):
        yield Server(tmp_path)
    assert not [
        one for one in psutil.process_iter(["cmdline"]) if str(program) in (one.info["cmdline"] or [])
    ]


def test_a_worker_is_a_copy_of_the_template_and_as_if_it_had_just_been_started(server: Server) -> None:
    one = server.worker_said("--a", "b c", MINE="1")
    other = server.worker_said(context={"env_vars": {"MINE": "2"}}, MINE="1")
    assert one["parent"] == other["parent"] != os.getpid()
    assert one["pid"] != other["pid"]
    assert one["arguments"] == ["--a", "b c"]
    assert one["folder"] == one["path"] == str(server.folder)
    assert one["name"] == "__main__"
    assert one["imported"]
    assert one["children"] == str(signal.SIG_DFL)
    assert [said["environment"]["MINE"] for said in (one, other)] == ["1", "2"]
    assert "OPENBLAS_NUM_THREADS" not in one["environment"]


GATED = """
from pathlib import Path
Path(sys.path[0], "gate.py").write_text("import select, sys; select.select([int(sys.argv[1])], [], [])")
Path(sys.path[0], "late.py").touch()
template.WITHOUT_RAY = ("gate", "late")
"""
"""Between the two imports, a request has come."""


@pytest.mark.parametrize("more", [GATED])
def test_the_first_workers_do_not_wait_for_all_imports(server: Server) -> None:
    first = server.worker_said()
    assert first["imported"]
    assert not first["late"]
    wait_until(lambda: bool(server.worker_said()["late"]))


def test_signals_that_are_blocked_stay_blocked(server: Server) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        assert server.worker_said()["blocked"] == [signal.SIGINT]
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    assert server.worker_said()["blocked"] == []


def test_the_script_ends_with_its_worker(server: Server) -> None:
    with server.start() as process:
        assert process.stdout is not None
        worker = psutil.Process(json.loads(process.stdout.readline())["pid"])
        assert process.poll() is None
        worker.kill()
        assert process.wait(PATIENCE_S) == 0


def test_a_job_makes_no_difference_and_other_variables_of_ray_do(server: Server) -> None:
    assert server.worker_said(RAY_JOB_ID="01000000")["environment"]["RAY_JOB_ID"] == "01000000"
    assert server.worker_said(RAY_JOB_ID="ffffffff")["imported"]
    assert "in its own way" in server.said(RAY_RAYLET_PID="8")
    assert server.worker_said()["imported"]


@pytest.mark.parametrize(
    "context", [{"py_executable": "/bin/other"}, {"command_prefix": ["nice"]}, {"java_jars": ["a.jar"]}]
)
def test_unusual_workers_are_started_in_rays_own_way(server: Server, context: dict[str, Any]) -> None:
    assert "in its own way" in server.said(context=context)
    assert CONTEXT + json.dumps(context) in server.said(context=context)


@pytest.mark.parametrize(
    "more", ["import threading; threading.Thread(target=threading.Event().wait).start()"]
)
def test_a_template_with_a_second_thread_makes_no_worker(server: Server) -> None:
    assert "in its own way" in server.said()


@pytest.mark.parametrize("more", ["sys.exit('broken')"])
def test_without_a_template_workers_are_started_in_rays_own_way(server: Server) -> None:
    assert "in its own way" in server.said("x")
    assert "broken" in (server.folder / "t" / "log").read_text()


def test_nonsense_on_the_socket_and_clients_that_leave_do_not_disturb(server: Server) -> None:
    for content in (b"", b"x", b"\0" * 8, b"\0" * 7 + b"\2{}", b"\xff" * 8):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(os.environ[SOCKET])
            connection.sendall(content)
    assert server.worker_said()["imported"]


def test_an_open_device_of_cuda_and_threads_forbid_a_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    thread = threading.Thread(target=go.wait)
    thread.start()
    assert not template.may_fork()
    go.set()
    thread.join()
    monkeypatch.setattr(os.path, "realpath", lambda _: "/dev/nvidia0")
    assert not template.may_fork()


def test_ray_names_the_script_and_its_context_so() -> None:
    assert "setup_worker_path" in services.start_raylet.__code__.co_varnames
    assert CONTEXT == "--serialized-runtime-env-context="


def test_without_a_template_the_raylet_runs_its_own_script(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SOCKET, raising=False)
    assert setup_script("setup.py") == "setup.py"
    monkeypatch.setenv(SOCKET, "/nowhere")
    monkeypatch.setenv(RAYS_SCRIPT, "")
    assert setup_script("setup.py") == start.__file__
    assert os.environ[RAYS_SCRIPT] == "setup.py"
