"""Whether a program takes new connections."""

import socket


def accepts(host: str, port: int, seconds: float) -> bool:
    """True for a connection that is accepted, or waits in the queue, within so many seconds.

    The kernel refuses a connection where nobody listens, and resets one that was in the queue, or on its way into it,
    when the listening socket was closed.
    """
    try:
        socket.create_connection((host, port), seconds).close()
    except (ConnectionRefusedError, ConnectionResetError):
        return False
    return True
