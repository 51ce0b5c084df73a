"""A server for the state of a cluster's head, as long as a block runs: the Valkey that the chart bundles."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deployments.store.server import bundled
from harness.orphans import end_with_parent
from serve_app.cli.addresses import free_ports
from serve_app.cli.haproxy import LOOPBACK

PASSWORD = "drill"


class StateServer:
    """It asks for PASSWORD and writes every change down, as that of the chart does."""

    def __init__(self, folder: Path) -> None:
        (self._port,) = free_ports(1)
        self._folder = folder
        self.start_again()

    @property
    def address(self) -> str:
        """The server's address, as Ray's RAY_REDIS_ADDRESS takes it."""
        return f"redis://{LOOPBACK}:{self._port}"

    def kill(self) -> None:
        """Kill the server at once, as its machine dies."""
        self._process.kill()
        self._process.wait()

    def start_again(self) -> None:
        """Start the server again on the same port, with the data that it had written."""
        options = ["--port", str(self._port), "--bind", LOOPBACK, "--dir", str(self._folder)]
        self._process = subprocess.Popen(
            [bundled(), *options, "--save", "", "--appendonly", "yes", "--requirepass", PASSWORD],
            stdout=subprocess.DEVNULL,
            preexec_fn=end_with_parent,
        )


@contextmanager
def state_server(folder: Path) -> Iterator[StateServer]:
    """A server that ends with the block."""
    server = StateServer(folder)
    try:
        yield server
    finally:
        server.kill()
