"""Drains HAProxy: no new connections, while requests under way are answered."""

import csv
import socket
import time
from pathlib import Path

from serve_app.cli.ray_environment import ADMIN_SOCKET

FRONT_END = "http_frontend"
"""The name of the frontend in the HAProxy configuration that Serve writes (ray 2.60)."""
CLOSE = (f"disable frontend {FRONT_END}", f"shutdown frontend {FRONT_END}")
"""The first command stops listening: new connections are refused at once. The second closes each open connection after
its next answer. Alone it would keep the socket listening (for a successor of HAProxy), and new clients would hang."""
POLL_S = 0.1
QUIET_POLLS = 3
"""Consecutive polls without requests before HAProxy counts as drained: between two tries a request is not counted."""
ANSWER_S = 5.0


def drain(directory: Path, seconds: float) -> bool:
    """Refuse new connections and wait, for at most `seconds`, until no request is under way.

    directory: HAProxy's files; Serve makes a folder in it for each node. Returns whether all requests ended in time.
    The next answer on a kept-alive connection tells the client to close it.
    """
    end = time.monotonic() + seconds
    drained = [_drained(found, end) for found in directory.rglob(ADMIN_SOCKET)]
    return all(drained)


def _drained(admin_socket: Path, end: float) -> bool:
    quiet = 0
    try:
        for words in CLOSE:
            command(admin_socket, words)
        while quiet < QUIET_POLLS:
            if time.monotonic() > end:
                return False
            time.sleep(POLL_S)
            quiet = 0 if under_way(command(admin_socket, "show stat")) else quiet + 1
    except OSError:  # HAProxy has ended: no request is under way
        return True
    return True


def under_way(statistics: str) -> int:
    """Number of requests in HAProxy's backends, from the output of `show stat`."""
    rows = csv.DictReader(statistics.removeprefix("# ").splitlines())
    return sum(int(row["scur"] or 0) + int(row["qcur"] or 0) for row in rows if row["svname"] == "BACKEND")


def command(admin_socket: Path, text: str) -> str:
    """HAProxy's answer to a command. Raises OSError."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_S)
        connection.connect(str(admin_socket))
        connection.sendall(f"{text}\n".encode())
        parts = list(iter(lambda: connection.recv(65536), b""))
    return b"".join(parts).decode(errors="replace")
