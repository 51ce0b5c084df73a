"""A whole server as its users start it: `sam3-serve up` as a process, on ports and in a folder of its own."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import psutil

from harness.orphans import end_with_parent
from serve_app.cli.addresses import free_ports

ROOT = Path(__file__).parents[1]
START_S = 600.0
STOP_S = 120.0


@dataclass
class ServerProcess:
    """A running `sam3-serve up`."""

    process: psutil.Popen
    url: str
    output: Path

    def descendants(self) -> list[psutil.Process]:
        """Every process that it started, Ray's and HAProxy's included."""
        return list(self.process.children(recursive=True))

    def named(self, part: str) -> list[psutil.Process]:
        """Its processes whose command line holds `part`, as Ray names its workers."""
        found = []
        for each in self.descendants():
            try:
                if any(part in word for word in each.cmdline()):
                    found.append(each)
            except psutil.NoSuchProcess:
                continue
        return found

    def run_folder(self) -> Path:
        """The folder of Ray's sockets and logs that its processes use."""
        words = [word for process in self.named("raylet") for word in process.cmdline()]
        sockets = {word.split("=", 1)[1] for word in words if word.startswith("--raylet_socket_name=")}
        (folder,) = {Path(*Path(socket).parts[:3]) for socket in sockets}
        return folder

    def stop(self, number: int = signal.SIGINT) -> int:
        """Send a signal, wait for the end; the exit status. SIGINT goes to the whole process group, as from a
        terminal."""
        if number == signal.SIGINT:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)
        return int(self.process.wait(STOP_S))

    def text(self) -> str:
        """The server's output so far."""
        return self.output.read_text()


def environment(**settings: str) -> dict[str, str]:
    """A small server with untrained weights: its tests are of the machinery."""
    names = {f"SAM3_{name.upper()}": value for name, value in settings.items()}
    defaults = {"SAM3_MODEL": "tiny-random", "SAM3_OBJECT_STORE_BYTES": "300MiB", "PYTHONPATH": str(ROOT)}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SAM3_", "RAY_"))}
    return {**inherited, **defaults, "RAY_metrics_report_interval_ms": "1000", **names}


MAIN = "serve_app.cli.entry"


def command(*arguments: str, module: str = MAIN, python: str = sys.executable) -> list[str]:
    """`sam3-serve ...`, from this folder whether it is installed or not."""
    return [python, "-m", module, *arguments]


@contextmanager
def server_process(
    folder: Path,
    *arguments: str,
    root: Path = ROOT,
    module: str = MAIN,
    python: str = sys.executable,
    instead: Sequence[str] = (),
    **settings: str,
) -> Iterator[ServerProcess]:
    """Start a server, wait until it is ready, and stop it. arguments: options of `sam3-serve up`. root: the
    checkout that it runs from. module: runs instead of `sam3-serve`. python: of another environment.
    instead: a whole command that starts the server in some other way."""
    port = settings.setdefault("port", str(free_ports(1)[0]))
    output = folder / f"up-{port}.txt"
    after = [os.environ["PYTHONPATH"]] if "PYTHONPATH" in os.environ else []
    with ExitStack() as starting:
        starting.enter_context(one_start_at_a_time())
        file = starting.enter_context(output.open("w"))
        process = psutil.Popen(
            instead or command("up", *arguments, module=module, python=python),
            env={**environment(**settings), "PYTHONPATH": os.pathsep.join([str(root), *after])},
            cwd=root,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
        server = ServerProcess(process, f"http://127.0.0.1:{port}", output)
        try:
            wait_until_ready(server)
            starting.close()
            yield server
        finally:
            if process.is_running():
                left = server.descendants()
                server.stop()
                _, alive = psutil.wait_procs(left, timeout=STOP_S)
                assert not alive, alive


@contextmanager
def one_start_at_a_time() -> Iterator[None]:
    """No other server of this user starts meanwhile: Ray (2.60) gives the start of a node 30 s, which two at once may
    need on a small machine."""
    with (Path(tempfile.gettempdir()) / f"sam3-serve-start-{os.getuid()}").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def wait_until_ready(server: ServerProcess, seconds: float = START_S) -> None:
    """Wait until the server has said that it is ready, and answers. Raises when it ends before, or takes too long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if server.process.poll() is not None:
            raise RuntimeError(f"the server ended: {server.text()}")
        if "is ready" in server.text() and get(server.url + "/readiness") == {"status": "ready"}:
            return
        time.sleep(0.2)
    raise TimeoutError(f"the server was not ready in time: {server.text()}")


def get(url: str) -> Any:
    """A JSON document; None where nobody answers."""
    try:
        with urlopen(url, timeout=10) as response:
            return json.load(response)
    except (URLError, OSError):
        return None
