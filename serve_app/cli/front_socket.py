"""The socket that the front end listens on. It outlives HAProxy: while HAProxy is dead, new connections wait in the
kernel's queue until the next one is up, and are not refused.

`sam3-serve up` binds the socket, and passes it on to every program that connects to another socket, which is in the
folder of HAProxy's files. HAProxy gets it as an open descriptor (`bind fd@100`). The first HAProxy starts to listen,
and no later one has to bind. Serve starts HAProxy without any descriptors, so the program that Serve starts instead
(`serve_app.cli.haproxy`) holds this text, and a bare interpreter runs it: it imports the standard library alone.

    python front_socket.py PATH PROGRAM ARGUMENT...

fetches the socket at PATH and becomes the program. No other process gets it: Python's descriptors are closed where a
program is started.
"""

import errno
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

DESCRIPTOR = 100
"""Its number in HAProxy."""
BIND = f"fd@{DESCRIPTOR}"
"""As HAProxy's configuration names it."""
NAME = "front.sock"
"""Of the socket that passes it on, in the folder of HAProxy's files."""
PAUSE_S = 0.1
"""Before another try where this process has too many open files."""


@contextmanager
def held(host: str, port: int, path: str) -> Iterator[None]:
    """Bind a socket, which does not listen yet, and pass it on at `path` until the block's end. Raises OSError."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as front, socket.socket(socket.AF_UNIX) as passing:
        front.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        front.bind(address)
        passing.bind(path)
        passing.listen()
        thread = threading.Thread(target=_pass_on, args=(passing, front), name="front-socket", daemon=True)
        thread.start()
        try:
            yield
        finally:
            passing.shutdown(socket.SHUT_RDWR)
            thread.join()


def _pass_on(passing: socket.socket, front: socket.socket) -> None:
    while True:
        try:
            connection, _ = passing.accept()
        except OSError as error:
            if error.errno == errno.EINVAL:  # it has been shut
                return
            time.sleep(PAUSE_S)
            continue
        with connection, suppress(OSError):  # the program may have gone
            socket.send_fds(connection, [b"\0"], [front.fileno()])


def fetched(path: str) -> socket.socket:
    """The socket that is passed on at `path`. Raises OSError."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        _, descriptors, _, _ = socket.recv_fds(connection, 1, 1, socket.MSG_CMSG_CLOEXEC)
    if not descriptors:
        raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET), path)
    return socket.socket(fileno=descriptors[0])


def refuse_in(folder: os.PathLike[str]) -> None:
    """From now on connections to the socket that is passed on in a folder are refused, and those that wait in its queue
    are closed. Nothing happens where there is none, or nobody listens on it."""
    with suppress(OSError), fetched(f"{folder}/{NAME}") as front:
        front.shutdown(socket.SHUT_RDWR)


def become(path: str, program: str, *arguments: str) -> None:
    """Run a program in place of this one, with the socket as its descriptor DESCRIPTOR. Raises OSError."""
    with fetched(path) as front:
        os.dup2(front.fileno(), DESCRIPTOR)
    os.execv(program, [program, *arguments])  # noqa: S606 - the caller names the program


if __name__ == "__main__":
    become(*sys.argv[1:])
