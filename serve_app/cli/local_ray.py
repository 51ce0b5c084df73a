"""Ray for a command that serves nothing: a node of its own on loopback, or a cluster that runs already."""

import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import Any

from serve_app.cli.haproxy import LOOPBACK
from serve_app.cli.janitor import janitor, keep_folder
from serve_app.cli.ray_environment import apply, environment, new_token
from serve_app.cli.ray_head import PROXY_DIR, RAY_DIR, RayNotStarted, new_run_dir, store_bytes
from serve_app.cli.single_node import single_node
from serve_app.settings import Settings

GREETING = b"Set ray log level from environment variable"
"""Ray's core says so of RAY_BACKEND_LOG_LEVEL before it heeds it, and on the file descriptor: Python's own streams do
not have it."""


@contextmanager
def local_ray(settings: Settings) -> Iterator[Path]:
    """Ray until the end of the block, and the folder of its logs, which is kept after an error.

    Raises RayNotStarted, and OSError where there is no place for its sockets.
    """
    _start_nothing_by_itself()
    try:
        run_dir = new_run_dir(settings)
    except ValueError as error:
        raise RayNotStarted(str(error)) from error
    with janitor(run_dir) as cleaner:
        fixed, tuned = environment(settings, run_dir / PROXY_DIR, new_token())
        # Of each pool of actors, Ray's core would say that its restarts need what they need.
        apply(fixed, {**tuned, "RAY_BACKEND_LOG_LEVEL": "fatal"})
        with single_node():
            _connect(
                address="local",
                _node_ip_address=LOOPBACK,
                _temp_dir=str(run_dir / RAY_DIR),
                include_dashboard=False,
                object_store_memory=store_bytes(settings),
            )
        try:
            yield run_dir
        except Exception:
            keep_folder(cleaner)
            raise
        finally:
            _leave()


@contextmanager
def cluster_ray(address: str) -> Iterator[None]:
    """A running cluster until the end of the block. address: as `ray.init` takes it. Raises RayNotStarted."""
    _start_nothing_by_itself()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    _connect(address=address)
    try:
        yield
    finally:
        _leave()


def _start_nothing_by_itself() -> None:
    """Call this before the first import of Ray, which reads the variable then. A thread of Ray Data that still works
    after the end of a run would start a cluster."""
    os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"


def _connect(**options: Any) -> None:
    import ray

    logging.getLogger("ray").setLevel(logging.CRITICAL)
    try:
        with _without_greeting(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            ray.init(log_to_driver=False, logging_level=logging.CRITICAL, **options)
    except Exception as error:  # Ray raises a plain Exception for a node that took too long
        first = str(error).strip().splitlines()[:1]
        raise RayNotStarted("".join(first) or type(error).__name__) from error


@contextmanager
def _without_greeting() -> Iterator[None]:
    """Leaves GREETING out of what this process writes to its stderr in the block. The rest is shown after it."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as written:
        stderr = os.dup(2)
        os.dup2(written.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            written.seek(0)
            os.write(2, b"".join(line for line in written if GREETING not in line))


def _leave() -> None:
    import ray

    with redirect_stdout(StringIO()), redirect_stderr(StringIO()), suppress(Exception):
        ray.shutdown()
