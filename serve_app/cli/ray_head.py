"""A Ray cluster of one node on loopback, for as long as a command runs. Its processes are stopped at the
end."""

import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from importlib import import_module
from io import StringIO
from pathlib import Path
from threading import Thread

from serve_app.cli import haproxy
from serve_app.cli.ray_environment import apply, environment, new_token
from serve_app.cli.single_node import single_node
from serve_app.cli.stop_signal import StopSignal
from serve_app.cli.worker_template.running import worker_template
from serve_app.settings import Settings

RAY_DIR, PROXY_DIR, TEMPLATE_DIR = "ray", "h", "t"
"""Folders in a run's directory. Ray makes its own readable for everybody, so the run's directory is private."""
LONGEST_PARENT = 10
"""Most characters of the parent directory's path. A socket's path has 107: 14 for the run's own directory, 57 for Ray's
name of the node, and 26 for the rest."""
NEXT = "serve_app.http.app"
"""The most that is imported for the application. That happens while Serve starts. Nothing of Ray is in it."""
MOST_STORE_BYTES = 4 * 2**30
STORE_SHARE = 0.3
"""Share of the free memory for the object store, up to MOST_STORE_BYTES."""


def new_run_dir(settings: Settings) -> Path:
    """A new private directory for one run's sockets and logs. Raises ValueError when the parent's path is too
    long."""
    parent = settings.ray_temp_dir
    if parent is None:
        usual = Path(tempfile.gettempdir())
        parent = usual if len(str(usual)) <= LONGEST_PARENT else Path("/tmp")  # noqa: S108 - mkdtemp below
    parent = parent.resolve()
    if len(str(parent)) > LONGEST_PARENT:
        raise ValueError(f"{parent} is too long for the sockets in it: at most {LONGEST_PARENT} characters")
    parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="sam3-", dir=parent))


def logs_in(run_dir: Path) -> Path:
    """The folder of the logs of Ray and the replicas."""
    return run_dir / RAY_DIR / "session_latest" / "logs"


def store_bytes(settings: Settings) -> int:
    """Size of the object store, in bytes."""
    import psutil

    if settings.object_store_bytes != "auto":
        return int(settings.object_store_bytes)
    shared = shutil.disk_usage("/dev/shm").free if Path("/dev/shm").exists() else MOST_STORE_BYTES  # noqa: S108
    return min(MOST_STORE_BYTES, int(psutil.virtual_memory().available * STORE_SHARE), int(shared * 0.9))


class RayNotStarted(Exception):
    """Ray or Serve did not start; the message gives their reason in one line."""


@contextmanager
def ray_head(settings: Settings, run_dir: Path, stop: StopSignal | None = None) -> Iterator[None]:
    """Run Ray and Serve until the end of the block. Their processes also die when this process is killed. stop: once
    it is set, Serve is not started.

    Raises RayNotStarted: above all, Ray gives a node 30 seconds to start, which a busy machine may exceed; or
    another program listens on the port by now.
    """
    fixed, tuned = environment(settings, run_dir / PROXY_DIR, new_token())
    with ExitStack() as stack:
        refuse = None
        if settings.haproxy:
            try:
                refuse = stack.enter_context(haproxy.installed(settings, run_dir / PROXY_DIR))
            except OSError as error:
                where = f"{settings.host}:{settings.port}"
                raise RayNotStarted(f"cannot listen on {where}: {error.strerror}") from error
        apply(fixed, tuned)
        stack.enter_context(worker_template(run_dir / TEMPLATE_DIR))
        stack.enter_context(_ray_and_serve(settings, run_dir, stop))
        if refuse:
            stack.callback(refuse)  # nobody shall wait for a server that is ending
        yield


@contextmanager
def _ray_and_serve(settings: Settings, run_dir: Path, stop: StopSignal | None) -> Iterator[None]:
    import ray
    from ray import serve

    # Ray reports what fails, and which processes end during the stop, on both streams.
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    logging.getLogger("ray.serve").setLevel(logging.CRITICAL)
    try:
        try:
            with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
                with single_node():
                    ray.init(
                        address="local",
                        _node_ip_address=haproxy.LOOPBACK,
                        _temp_dir=str(run_dir / RAY_DIR),
                        include_dashboard=False,
                        object_store_memory=store_bytes(settings),
                        log_to_driver=False,
                        logging_level=logging.CRITICAL,
                    )
                if stop is not None:
                    stop.listen()  # Ray has set handlers of its own, which end the process with a trace
                if not stop:
                    Thread(target=import_module, args=(NEXT,), daemon=True).start()
                    host = haproxy.LOOPBACK if settings.haproxy else settings.host
                    serve.start(
                        proxy_location="HeadOnly",
                        http_options={"host": host, "port": settings.port, "request_timeout_s": None},
                    )
        except Exception as error:  # Ray raises a plain Exception for a node that took too long
            first = str(error).strip().splitlines()[:1]
            raise RayNotStarted("".join(first) or type(error).__name__) from error
        yield
    finally:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()), suppress(Exception):
            if ray.is_initialized():
                serve.shutdown()
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()), suppress(Exception):
            ray.shutdown()
