"""The store of a run: the server that the settings name, or one that this process starts and watches over."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deployments.observe.metrics import Metrics
from deployments.protocol import StoreAway
from deployments.store.server import LocalServer, ServerFailed
from deployments.store.valkey import ValkeyStore
from serve_app.settings import Settings
from serve_app.store import store_config

STORE_DIR = "store"
"""Folder in a run's directory."""


@contextmanager
def store_of(settings: Settings, run_dir: Path) -> Iterator[Settings]:
    """The settings with a store that answers. Raises StoreAway and ServerFailed, which say why."""
    if settings.store:
        asyncio.run(_check(settings))
        yield settings
        return
    server = LocalServer(
        run_dir / STORE_DIR,
        int(settings.cold_bytes) + (int(settings.video_bytes) if settings.tracks_videos else 0),
        data=settings.store_dir,
        binary=str(settings.store_server) if settings.store_server else None,
    )
    try:
        server.start()
    except OSError as error:
        raise ServerFailed(f"the store's server cannot be started: {error}") from error
    try:
        yield settings.model_copy(update={"store": server.url})
    finally:
        server.stop()


async def _check(settings: Settings) -> None:
    try:
        store = ValkeyStore(store_config(settings), Metrics())
    except (OSError, ValueError) as error:
        raise StoreAway(f"the store cannot be used: {error}") from error
    try:
        await store.check()
    finally:
        await store.close()
