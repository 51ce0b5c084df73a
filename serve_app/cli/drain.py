"""A polite end: nobody new gets in, and those who are in get their answers."""

import csv
import socket
import time
from pathlib import Path

from serve_app.cli.ray_environment import ADMIN_SOCKET

FRONT_END = "http_frontend"
"""As Serve names it in HAProxy's configuration (ray 2.60)."""
CLOSE = (f"disable frontend {FRONT_END}", f"shutdown frontend {FRONT_END}")
"""The first stops listening: newcomers are refused at once. The second has connections closed with their next answer;
alone it would leave the socket listening (HAProxy keeps it for a successor), and newcomers waiting for nobody."""
POLL_S = 0.1
QUIET_POLLS = 3
"""So often in a row nothing must be under way: a request may be between two connections of a retry."""
ANSWER_S = 5.0


def drain(directory: Path, seconds: float) -> bool:
    """Close HAProxy's front door and wait, at most so long, until no request is under way.

    directory: of HAProxy's files; Serve makes a folder in it for each node. Whether nothing was under way in the
    end. Clients that keep a connection open are told to close it with their next answer.
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
    except OSError:  # HAProxy is gone: nobody is in
        return True
    return True


def under_way(statistics: str) -> int:
    """Requests that HAProxy's back ends hold, from `show stat`."""
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
