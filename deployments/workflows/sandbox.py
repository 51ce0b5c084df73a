"""The runner's client of the zygote: starts it once, and has it fork and kill workers."""

import json
import logging
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from threading import Lock
from typing import Any

from deployments.workflows.forking import ONE_THREAD

logger = logging.getLogger("ray.serve")

START_S = 300.0
ANSWER_S = 30.0
MESSAGE_BYTES = 64 * 1024
ROOT = Path(__file__).resolve().parents[2]


class SandboxFailed(RuntimeError):
    """The zygote did not start, or has ended."""


class Sandbox:
    """Makes processes to run workflows in. Its methods block; they may be called from any thread."""

    def __init__(self, settings: dict[str, Any]) -> None:
        """Start the zygote and wait until it has imported the engine. Raises SandboxFailed."""
        self._lock = Lock()
        self._scratch = tempfile.TemporaryDirectory(prefix="sam3-workflows-")
        self._errors = Path(self._scratch.name) / "errors"
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        zygote = [sys.executable, "-W", "ignore", "-m", "deployments.workflows.zygote"]
        with theirs, self._errors.open("wb") as errors:
            self._process = subprocess.Popen(  # noqa: S603 - our own module, arguments of our own
                [*zygote, str(theirs.fileno()), self._scratch.name],
                pass_fds=[theirs.fileno()],
                env=_environment(self._scratch.name),
                cwd=self._scratch.name,
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                start_new_session=True,  # so that a Ctrl-C in the terminal reaches the runner alone
            )
        try:
            missing = self._say(settings, START_S)["missing"]
        except SandboxFailed:
            self.close()
            raise
        if missing:
            logger.warning(
                "The processes of workflows lack what this kernel refuses: %s.", "; ".join(missing)
            )

    @property
    def pid(self) -> int:
        """The zygote's process id; workers are its children."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """True while the zygote runs."""
        return self._process.poll() is None

    def fork(self) -> tuple[int, socket.socket]:
        """A new worker's process id, and our end of its socket. Raises SandboxFailed."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                answer = self._say({"fork": True}, ANSWER_S, [theirs.fileno()])
            except SandboxFailed:
                ours.close()
                raise
        return int(answer["pid"]), ours

    def kill(self, pid: int) -> None:
        """End a worker at once. Raises SandboxFailed."""
        self._say({"kill": pid}, ANSWER_S)

    def close(self) -> None:
        """End the zygote and its workers."""
        self._control.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._scratch.cleanup()

    def _say(
        self, message: dict[str, Any], seconds: float, descriptors: list[int] | None = None
    ) -> dict[str, Any]:
        with self._lock:
            try:
                self._control.settimeout(seconds)
                socket.send_fds(self._control, [json.dumps(message).encode()], descriptors or [])
                data = self._control.recv(MESSAGE_BYTES)
            except OSError as error:
                raise SandboxFailed(f"the workflow engine's process does not answer: {error}") from error
        if not data:
            lines = self._errors.read_text(errors="replace").strip().splitlines()
            raise SandboxFailed(
                f"the workflow engine's process has ended: {lines[-1] if lines else 'no reason'}"
            )
        answer: dict[str, Any] = json.loads(data)
        return answer


def _environment(scratch: str) -> dict[str, str]:
    """The environment of the engine's processes. From this process's own it takes only the paths of modules."""
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "NO_ALBUMENTATIONS_UPDATE": "1"}
    return {
        "PATH": os.defpath,
        "PYTHONPATH": os.pathsep.join([str(ROOT), *(path for path in sys.path if path)]),
        "HOME": scratch,
        "TMPDIR": scratch,
        "MPLCONFIGDIR": scratch,
        "LANG": "C.UTF-8",
        **ONE_THREAD,
        **offline,
    }
