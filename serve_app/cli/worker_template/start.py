"""The script that the raylet runs for each worker: it has the template fork the worker, and ends with it.

It is run by its path, and only the standard library is imported, as each worker waits for it.
"""

import array
import json
import os
import runpy
import signal
import socket
import sys
from dataclasses import dataclass
from typing import Any

SOCKET = "_SAM3_WORKER_TEMPLATE"
"""A variable with the path of the template's socket."""
RAYS_SCRIPT = "_SAM3_WORKER_SCRIPT"
"""A variable with the path of Ray's own script."""
STREAMS = (0, 1, 2)
LENGTH_BYTES = 8
ANSWER_S = 50.0
"""Seconds to wait for the template, which may be importing. Ray gives up a worker that has not come after 60 s."""
CONTEXT = "--serialized-runtime-env-context="
PASSED_ON = {"env_vars", "py_executable"}
"""Fields that the context of a forked worker may have. `py_executable` has to be this interpreter."""


@dataclass(frozen=True, slots=True)
class Start:
    """A worker to be started: its script with arguments, and the state that a process inherits."""

    arguments: list[str]
    environment: dict[str, str]
    folder: str
    blocked_signals: list[int]


def send(connection: socket.socket, start: Start) -> None:
    """Send a request with this process's streams. The answer is the worker's process id; the connection then stays
    open for as long as the worker lives."""
    values = {name: getattr(start, name) for name in Start.__slots__}
    content = json.dumps(values).encode()
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", STREAMS))]
    connection.sendmsg([len(content).to_bytes(LENGTH_BYTES, "big")], ancillary)
    connection.sendall(content)


def receive(connection: socket.socket) -> tuple[Start, list[int]]:
    """A request, and the file descriptors of its streams. Raises OSError or ValueError for anything else."""
    size = len(STREAMS) * array.array("i").itemsize
    head, ancillary, *_ = connection.recvmsg(LENGTH_BYTES, socket.CMSG_SPACE(size))
    streams = array.array("i")
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            streams.frombytes(data[: len(data) - len(data) % streams.itemsize])
    content = bytearray()
    while len(content) < int.from_bytes(head, "big"):
        if not (piece := connection.recv(2**16)):
            break
        content += piece
    if len(streams) != len(STREAMS):
        raise ValueError("a request needs the process's streams")
    return Start(**json.loads(content)), streams.tolist()


def started_by_the_template(arguments: list[str]) -> bool:
    """Have the template fork the worker, and wait for its end; False where it cannot. arguments: the raylet's."""
    context, *others = [one.removeprefix(CONTEXT) for one in arguments if one.startswith(CONTEXT)] or ["{}"]
    settings: dict[str, Any] = json.loads(context)
    unusual = {name for name, value in settings.items() if value} - PASSED_ON
    if others or unusual or settings.get("py_executable", sys.executable) != sys.executable:
        return False
    if "--language=PYTHON" not in arguments:
        return False
    environment = {**os.environ, **settings.get("env_vars", {})}
    passed_on = [one for one in arguments if not one.startswith((CONTEXT, "--language="))]
    blocked = sorted(int(one) for one in signal.pthread_sigmask(signal.SIG_BLOCK, ()))
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_S)
            connection.connect(os.environ[SOCKET])
            send(connection, Start(passed_on, environment, os.getcwd(), blocked))  # noqa: PTH109 - pathlib is slow
            if not connection.recv(64):
                return False
            connection.settimeout(None)
            connection.recv(1)  # until the worker's end
            return True
    except OSError:
        return False


def main() -> None:
    """Start the worker; in Ray's own way where the template does not."""
    if not started_by_the_template(sys.argv[1:]):
        sys.argv[0] = os.environ[RAYS_SCRIPT]
        runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
