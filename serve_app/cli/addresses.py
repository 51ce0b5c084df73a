"""Checks addresses and ports of this machine before anything is started."""

import errno
import ipaddress
import itertools
import random
import socket

QUIET_PORTS = range(20000, 30000)
"""Ports that neither Ray (up to 19999) nor the kernel (from 32768) assigns by itself."""


def is_loopback(host: str) -> bool:
    """True if only this machine can reach a server that listens on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def in_use(host: str, port: int) -> bool:
    """True if a program already listens there. Raises OSError when the address is not this machine's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
            return False
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
            return True


def free_ports(count: int) -> list[int]:
    """Distinct free ports of loopback, from a range that the system does not assign before they are used."""
    free = (port for port in random.sample(QUIET_PORTS, len(QUIET_PORTS)) if not in_use("127.0.0.1", port))
    return list(itertools.islice(free, count))


def url_of(host: str, port: int) -> str:
    """The URL by which a browser on this machine reaches a server that listens on `host`."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{reachable}:{port}"
