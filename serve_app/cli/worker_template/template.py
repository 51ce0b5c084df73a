"""A process that has imported the workers' modules, and forks itself for each of them:
`python -m serve_app.cli.worker_template.template DESCRIPTOR`, with a listening socket.

1. It imports the modules that know nothing of Ray, above all torch, one after the other.
2. At the first request, which may come between two of them, it takes over the request's variables for Ray, and imports
   Ray and Serve. Ray reads most of its variables when it is imported: among them the raylet's process id, which each
   worker has to know.
3. It forks for this request, and for each one that has the same variables. Between requests it imports the rest.

Serve's controller and proxies are the first workers that a raylet asks for. So they start while torch is imported,
which they do not need. An early fork that becomes a replica imports the missing modules itself.

A fork copies only the thread that forks. So a template with a second thread, or with an open device of CUDA, makes no
worker; nor does one whose forks would draw the same random ids (random_ids.py). The template ends with its standard
input.
"""

import contextlib
import gc
import importlib
import os
import random
import runpy
import select
import signal
import socket
import sys
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path

from serve_app.cli.worker_template.random_ids import class_ids_of_the_system, forks_draw_apart
from serve_app.cli.worker_template.start import STREAMS, Start, receive

WITHOUT_RAY = ("torch", "torch._dynamo.utils", "timm.layers", "sam3_engine.engine")
"""The engine, after the largest parts of what it imports: requests wait for one at a time."""
SERVE = ("ray.serve._private.controller", "ray.serve._private.proxy", "ray.serve._private.replica")
WITH_RAY = (
    "deployments.decoder.deployment",
    "deployments.encoder.deployment",
    "deployments.pool.actor",
    "serve_app.ingress",
)
class_ids = class_ids_of_the_system
ANY_JOB = {"RAY_JOB_ID": "ffffffff"}
"""A worker without a job works for any. The raylet asks for some with and for some without one."""
REQUEST_S = 10.0
"""Seconds that a request may take to arrive on its socket."""


def main(descriptor: int) -> None:
    """Import and answer until the standard input ends. In a worker: run it."""
    listener = socket.socket(fileno=descriptor)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel forgets ended workers
    become(*next_worker(listener))


def next_worker(listener: socket.socket) -> tuple[Start, list[int]]:
    """Import, and fork for each request. Returns in the forked processes alone, with the request and its streams."""
    known: Mapping[str, str] | None = None
    apart = False
    missing = deque(WITHOUT_RAY)
    while True:
        ready, *_ = select.select([listener, sys.stdin], [], [], 0 if missing else None)
        if sys.stdin in ready:
            os._exit(0)
        if not ready:
            (import_with_ray if known else importlib.import_module)(missing.popleft())
            if known and not missing:
                gc.freeze()  # the imported objects stay: looking through them would copy their pages
                apart = may_fork() and forks_draw_apart()
            continue
        connection, _ = listener.accept()
        with connection:
            connection.settimeout(REQUEST_S)
            try:
                start, streams = receive(connection)
            except (OSError, ValueError):
                continue
            if has_left(connection):
                close(streams)
                continue
            if known is None:
                known = rays(start.environment)
                take_over(known)
                missing.extend(WITH_RAY)
                apart = may_fork() and forks_draw_apart()
            pid = os.fork() if known == rays(start.environment) and apart and may_fork() else None
            if pid == 0:
                listener.close()
                connection.detach()  # stays open until the process ends, which tells `start`
                return start, streams
            close(streams)
            if pid is not None:
                with contextlib.suppress(OSError):
                    connection.send(b"%d" % pid)


def close(descriptors: Iterable[int]) -> None:
    """Close the streams of a request."""
    for descriptor in descriptors:
        os.close(descriptor)


def has_left(connection: socket.socket) -> bool:
    """True if the other end of the connection is closed: nobody waits for the answer any more."""
    connection.setblocking(False)
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True


def rays(environment: Mapping[str, str]) -> Mapping[str, str]:
    """The variables that Ray reads, for a worker of any job."""
    return {name: value for name, value in environment.items() if name.startswith("RAY_")} | ANY_JOB


def import_with_ray(name: str) -> None:
    """Import a module that may make classes into actors."""
    with class_ids():
        importlib.import_module(name)


def take_over(variables: Mapping[str, str]) -> None:
    """Import Ray and Serve with these variables."""
    os.environ.update(variables)
    for name in SERVE:
        import_with_ray(name)


def may_fork() -> bool:
    """True if a fork of this process would be whole: one thread, and no NVIDIA device open."""
    opened = (os.path.realpath(one) for one in Path("/proc/self/fd").iterdir())
    alone = len([*Path("/proc/self/task").iterdir()]) == 1
    return alone and not any(path.startswith("/dev/nvidia") for path in opened)


def become(start: Start, streams: list[int]) -> None:
    """Run a worker's script in this process, as if it had just been started."""
    os.setpgrp()  # the raylet kills the process group of a worker that has died
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for place, descriptor in zip(STREAMS, streams, strict=True):
        os.dup2(descriptor, place)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(start.environment)
    os.chdir(start.folder)
    signal.pthread_sigmask(signal.SIG_SETMASK, start.blocked_signals)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(random.getrandbits(32))  # Python's own generator is seeded by the fork
    sys.argv = list(start.arguments)
    sys.path[0] = str(Path(sys.argv[0]).parent)
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main(int(sys.argv[1]))
