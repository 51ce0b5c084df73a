"""A server that was stopped starts again on its port."""

import signal
from pathlib import Path

from harness.server import get, server_process


def test_a_stopped_server_starts_again_on_its_port(tmp_path: Path) -> None:
    with server_process(tmp_path) as first:
        assert first.stop(signal.SIGINT) == 0
    with server_process(tmp_path, port=first.url.rpartition(":")[2]) as second:
        assert get(f"{second.url}/readiness") == {"status": "ready"}
