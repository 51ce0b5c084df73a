import subprocess
import sys
from pathlib import Path

import pytest

from deployments.protocol import StoreAway
from deployments.store.server import LocalServer, ServerFailed
from serve_app.cli.store import store_of
from serve_app.settings import Settings

STORE = """
import sys
from pathlib import Path
from serve_app.cli.store import store_of
from serve_app.settings import Settings
with store_of(Settings(store=sys.argv[1]), Path()):
    assert "ray" not in sys.modules
"""


def test_a_store_of_its_own_is_started_and_stopped(tmp_path: Path) -> None:
    with store_of(Settings(), tmp_path) as settings:
        assert settings.store == f"unix://{tmp_path}/store/valkey.sock"
        with store_of(settings, tmp_path) as again:
            assert again == settings, "what is there is used"
    with pytest.raises(StoreAway, match="cannot be used"), store_of(settings, tmp_path):
        pass


def test_a_server_that_is_not_there_is_said(tmp_path: Path) -> None:
    settings = Settings(store_server=Path("/no/such/program"))
    with pytest.raises(ServerFailed, match="/no/such/program"), store_of(settings, tmp_path):
        pass


def test_the_store_is_asked_before_ray_is_imported(tmp_path: Path) -> None:
    """Ray reads its environment when it is imported, and `up` sets that afterwards."""
    server = LocalServer(tmp_path, 2**20)
    server.start()
    try:
        subprocess.run([sys.executable, "-c", STORE, server.url], check=True)
    finally:
        server.stop()
