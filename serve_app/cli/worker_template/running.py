"""Runs the template beside a server."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from deployments.workflows.forking import ONE_THREAD
from serve_app.cli.worker_template import start
from serve_app.cli.worker_template.start import RAYS_SCRIPT, SOCKET

COMMAND = ("-m", "serve_app.cli.worker_template.template")
SOCKET_NAME, LOG_NAME = "socket", "log"
WAITING = 64
"""Workers that may wait for the template."""
ENVIRONMENT = {
    **ONE_THREAD,  # replicas set the number of threads for arithmetic themselves
    # The other way to ask whether CUDA is there opens the device.
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
}


@contextmanager
def worker_template(folder: Path) -> Iterator[None]:
    """A template until the end of the block, with its socket and log in a folder, which is made.

    Programs that are started in the block find it by this process's environment.
    """
    folder.mkdir(mode=0o700)
    os.environ[SOCKET] = str(folder / SOCKET_NAME)
    with ExitStack() as stack:
        stack.callback(os.environ.pop, SOCKET)
        # Before anybody answers: workers wait for the template's imports. With the template, the socket is gone.
        listener = stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(os.environ[SOCKET])
        listener.listen(WAITING)
        log = stack.enter_context((folder / LOG_NAME).open("w"))
        stack.enter_context(
            subprocess.Popen(
                [sys.executable, *COMMAND, str(listener.fileno())],
                env={**os.environ, **ENVIRONMENT},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=[listener.fileno()],
                start_new_session=True,  # a Ctrl-C in the terminal is not for workers
            )
        )
        listener.close()
        yield  # at the end, the template's input ends too


def setup_script(rays: str) -> str:
    """The script that a raylet is to run for workers, instead of Ray's own."""
    if SOCKET not in os.environ:
        return rays
    os.environ[RAYS_SCRIPT] = rays
    return start.__file__
