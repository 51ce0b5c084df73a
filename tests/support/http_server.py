"""A real HTTP server around an app, on a free port of the loopback interface."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI

from tests.support.patience import PATIENCE_S


@contextmanager
def serving(app: FastAPI, **config: Any) -> Iterator[str]:
    """Serve `app` from a thread; its URL."""
    options: dict[str, Any] = {"host": "127.0.0.1", "port": 0, "ws": "none", "log_config": None, **config}
    server = uvicorn.Server(uvicorn.Config(app, **options))
    started = threading.Event()
    failure: list[BaseException] = []

    async def serve() -> None:
        task = asyncio.ensure_future(server.serve())
        while not server.started and not task.done():
            await asyncio.sleep(0.005)
        started.set()
        await task

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            failure.append(error)
        finally:
            started.set()

    thread = threading.Thread(target=run, name="test-server", daemon=True)
    thread.start()
    started.wait(PATIENCE_S)
    if failure or not server.started:
        raise RuntimeError("the test server did not start") from (failure[0] if failure else None)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(30)
        if failure:
            raise failure[0]
