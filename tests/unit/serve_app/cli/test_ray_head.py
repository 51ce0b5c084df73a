import socket
from pathlib import Path

import pytest

from serve_app.cli.ray_head import RayNotStarted, ray_head
from serve_app.settings import Settings


def test_a_port_that_is_taken_after_the_first_look_is_reported_before_ray_is_started(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        expected = f"cannot listen on 127.0.0.1:{port}: Address already in use"
        with pytest.raises(RayNotStarted, match=expected), ray_head(Settings(port=port), tmp_path):
            pass
