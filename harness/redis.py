"""A Redis for the state of a cluster's head: Debian's redis-server, for as long as a block runs."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.orphans import end_with_parent
from serve_app.cli.addresses import free_ports
from serve_app.cli.haproxy import LOOPBACK

PASSWORD = "drill"


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """Its address. It asks for PASSWORD and writes every change down, as that of the `ha` overlay does."""
    (port,) = free_ports(1)
    options = ["--port", str(port), "--bind", LOOPBACK, "--dir", str(folder), "--appendonly", "yes"]
    with subprocess.Popen(
        ["redis-server", *options, "--requirepass", PASSWORD],
        stdout=subprocess.DEVNULL,
        preexec_fn=end_with_parent,
    ) as process:
        try:
            yield f"redis://{LOOPBACK}:{port}"
        finally:
            process.terminate()
