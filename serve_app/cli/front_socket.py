"""The socket that the front end listens on, held beyond HAProxy's death: who connects meanwhile waits in the kernel's
queue until the next HAProxy is up, and is not refused.

`sam3-serve up` binds the socket and hands it to every program that connects to a socket in the folder of HAProxy's
files. HAProxy gets it as an open descriptor (`bind fd@100`); the first one starts to listen, and no later one has to
bind. The program that Serve starts as HAProxy holds this text (see `serve_app.cli.haproxy`), where a bare interpreter
runs it: so it imports the standard library alone.

    python front_socket.py SOCKET PROGRAM ARGUMENT...

becomes the program, with the descriptor.
"""

import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

DESCRIPTOR = 100
"""Its number in HAProxy."""
BIND = f"fd@{DESCRIPTOR}"
"""As HAProxy's configuration names it."""
NAME = "front.sock"
"""Of the socket in the folder of HAProxy's files."""


@contextmanager
def held(host: str, port: int, path: str) -> Iterator[None]:
    """Bind a socket, which does not listen yet, and hand it out at `path` until the block's end. Raises OSError."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as front, socket.socket(socket.AF_UNIX) as door:
        front.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        front.bind(address)
        door.bind(path)
        door.listen()
        thread = threading.Thread(target=_hand_out, args=(door, front), name="front-socket", daemon=True)
        thread.start()
        try:
            yield
        finally:
            door.shutdown(socket.SHUT_RDWR)
            thread.join()


def _hand_out(door: socket.socket, front: socket.socket) -> None:
    while True:
        try:
            connection, _ = door.accept()
        except OSError:  # it is shut
            return
        with connection:
            try:
                socket.send_fds(connection, [b"\0"], [front.fileno()])
            except OSError:  # who asked has gone
                continue


def taken(path: str) -> socket.socket:
    """The socket that is handed out at `path`. Raises OSError."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        _, descriptors, _, _ = socket.recv_fds(connection, 1, 1)
    return socket.socket(fileno=descriptors[0])


def refuse(path: str) -> None:
    """From now on nobody can connect, and those in the queue are turned away. Raises OSError."""
    with taken(path) as front:
        front.shutdown(socket.SHUT_RDWR)


def become(path: str, program: str, *arguments: str) -> None:
    """Run a program in place of this one, with the socket as its descriptor DESCRIPTOR."""
    with taken(path) as front:
        os.dup2(front.fileno(), DESCRIPTOR)
    os.execv(program, [program, *arguments])  # noqa: S606 - it is told which


if __name__ == "__main__":
    become(*sys.argv[1:])
