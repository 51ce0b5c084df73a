"""The socket that the front end listens on. It outlives HAProxy: while HAProxy is dead, new connections wait in the
kernel's queue until the next one is up, and are not refused.

`sam3-serve up` binds the socket. A HAProxy that replaces another one asks that one's admin socket for its listening
sockets (option `-x`). A HAProxy that replaces nobody asks a socket of this module, which answers as an old HAProxy does
(2.8: `_getsocks` in its `src/cli.c`), and takes over the one socket whose address its configuration names. HAProxy asks
no longer than a second.

An open descriptor (`bind fd@`) would not do: HAProxy does not end its watch of such a one before it closes it, and an
old HAProxy with requests under way would use a whole core once nobody listens any more.

No other process gets the socket: Python's descriptors are closed where a program is started.
"""

import errno
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

NAME = "front.sock"
"""Name of the socket that HAProxy asks, in the folder of its files."""
QUESTION = b"_getsocks\n"
ONE_SOCKET = struct.pack("i", 1)
NO_NAMESPACE_NO_INTERFACE = bytes(1 + 1 + 4)
"""Two empty names, each with its length before it, and four bytes that HAProxy no longer uses."""
TALK_S = 5.0
"""Seconds that one HAProxy may take for its part."""
PAUSE_S = 0.1
"""Seconds before another try where this process has too many open files."""


@contextmanager
def held(host: str, port: int, path: str) -> Iterator[Callable[[], None]]:
    """Bind a socket, which does not listen yet, and pass it on at `path` until the block's end. Raises OSError.

    Gives a function. Its call has connections refused from then on, and closes connections that wait in the queue.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as front, socket.socket(socket.AF_UNIX) as asked:
        front.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        front.bind(address)
        asked.bind(path)
        asked.listen()
        thread = threading.Thread(target=_answer, args=(asked, front), name="front-socket", daemon=True)
        thread.start()

        def refuse() -> None:
            with suppress(OSError):  # nobody listens
                front.shutdown(socket.SHUT_RDWR)

        try:
            yield refuse
        finally:
            asked.shutdown(socket.SHUT_RDWR)
            thread.join()


def _answer(asked: socket.socket, front: socket.socket) -> None:
    while True:
        try:
            connection, _ = asked.accept()
        except OSError as error:
            if error.errno == errno.EINVAL:  # it has been shut
                return
            time.sleep(PAUSE_S)
            continue
        with connection, suppress(OSError):  # HAProxy may have gone
            connection.settimeout(TALK_S)
            if connection.recv(len(QUESTION), socket.MSG_WAITALL) == QUESTION:
                connection.sendall(ONE_SOCKET)
                socket.send_fds(connection, [NO_NAMESPACE_NO_INTERFACE], [front.fileno()])
                connection.recv(len(ONE_SOCKET))  # it has it
