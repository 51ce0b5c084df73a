"""A browser's access to a server without keys: only pages that the server serves itself, under its own names.

Such a server trusts every program that can connect, and a browser connects for every page that its user opens. Two ways
lead from a page of another site to a server on the same desk. The page posts to `localhost`; browsers tell so by
`Sec-Fetch-Site` or `Origin`. Or the page's own name is made to resolve to loopback (DNS rebinding); then `Host` is that
name.
"""

from collections.abc import Sequence
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_app.http.around.exchange import Exchange
from serve_app.http.errors import Forbidden, answer_error, name_of
from serve_app.settings import Settings

ANY = "*"
HARMLESS = ("GET", "HEAD", "OPTIONS")
"""Methods that change nothing and cost little. The answer to another site's page is one that it cannot read."""
PROBES = ("/readiness", "/healthz")
"""Paths for any `Host`: they tell no secret, and probes ask them under any name of a cluster or a compose file."""
PORTS = {"http": 80, "https": 443}


class Visitors:
    """ASGI middleware that refuses foreign hosts and cross-site requests with 403, on a server without keys. Where
    `SAM3_ALLOWED_HOSTS` is set, a server with keys checks hosts too."""

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        self._open = settings.api_keys_file is None
        self._hosts = HostNames(settings.host, settings.allowed_hosts)
        self._checks_hosts = self._open or bool(settings.allowed_hosts)
        self._origins = settings.cors_origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            headers = Headers(scope=scope)
            path = scope["path"].removeprefix(scope.get("root_path", "").rstrip("/"))
            if self._checks_hosts and path not in PROBES:
                self._check_host(headers.get("host", ""))
            if self._open and scope["method"] not in HARMLESS:
                self._check_site(headers)
        except Forbidden as error:
            exchange: Exchange = scope["state"]["exchange"]
            exchange.error = name_of(error)
            refusal = answer_error(error)
            assert refusal is not None
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _check_host(self, host: str) -> None:
        if host and not self._hosts.allow(host):
            raise Forbidden(
                "this server does not answer by the name in Host: use localhost, or allow the name with "
                "SAM3_ALLOWED_HOSTS"
            )

    def _check_site(self, headers: Headers) -> None:
        """Raises Forbidden for a request that a page of another origin makes. A browser's own word counts before the
        comparison, as a proxy may have changed `Host`; programs other than browsers send neither header."""
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if ANY in self._origins or (origin is not None and origin in self._origins):
            return
        if site in ("same-origin", "none") or (
            site is None and (origin is None or same_host(origin, headers.get("host", "")))
        ):
            return
        raise Forbidden("a page of another origin may not do this: allow its origin with SAM3_CORS_ORIGINS")


class HostNames:
    """The names and addresses in `Host` that a server answers by: loopback's, the host that it listens on, and those
    that are allowed (`*`: any; `*.example.com`: every name below). A server that listens beyond loopback answers by any
    address: only a name can be made to resolve to another machine."""

    def __init__(self, listens_on: str, allowed: Sequence[str]) -> None:
        self._names = {listens_on.lower(), *(name.lower() for name in allowed)}
        self._below = tuple(name[1:] for name in self._names if name.startswith("*."))
        self._any_address = not is_loopback(listens_on)

    def allow(self, host: str) -> bool:
        """True if the server answers by this value of the header `Host`."""
        if ANY in self._names:
            return True
        name = (split(f"//{host}").hostname or "").rstrip(".")
        if name in self._names or name.endswith(self._below) or is_loopback(name):
            return True
        return self._any_address and _address(name)


def is_loopback(name: str) -> bool:
    """True for a name or address of this machine alone. Names below `localhost` are, in every browser."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    return _address(name) and ip_address(name).is_loopback


def same_host(origin: str, host: str) -> bool:
    """True if an `Origin` has the host and port in `Host`."""
    theirs = split(origin)
    ours = split(f"{theirs.scheme}://{host}")
    default = PORTS.get(theirs.scheme)
    return bool(theirs.hostname) and (theirs.hostname, _port(theirs) or default) == (
        ours.hostname,
        _port(ours) or default,
    )


def split(url: str) -> SplitResult:
    """The parts of a URL; none where it is not one."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def _port(parts: SplitResult) -> int | None:
    try:
        return parts.port
    except ValueError:
        return 0


def _address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
