"""A server that keeps keys, and is watched in every way there is."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.server import ServerProcess, server_process
from serve_app.http.tenants import keyfile
from tests.support.otlp_receiver import Receiver, otlp_receiver

KEY = "s3k_0123456789-very-secret-0123456789"


@dataclass(frozen=True)
class Observed:
    """It, and where it tells what it does."""

    server: ServerProcess
    folder: Path
    """Folder of the file `access.log`, and of other files of the server."""
    collector: Receiver

    @property
    def access_log(self) -> Path:
        return self.folder / "access.log"


@pytest.fixture(scope="session")
def observed_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observed]:
    """Room for a few embeddings only, so that some are evicted and made again."""
    folder = tmp_path_factory.mktemp("observed")
    keyfile.add(folder / "keys.json", "acme", key=KEY)
    with (
        otlp_receiver() as collector,
        server_process(
            folder,
            api_keys_file=str(folder / "keys.json"),
            access_log=str(folder / "access.log"),
            otlp_endpoint=collector.url,
            warm_bytes="2MiB",
            hot_bytes="4MiB",
        ) as running,
    ):
        yield Observed(running, folder, collector)
