"""A client session whose connections can only go to allowed addresses.

A host's name is resolved once per connection. aiohttp connects to the addresses that the resolver returns, and the
resolver returns only checked ones. The socket factory checks the address again just before the connection, because
aiohttp does not call the resolver for a URL whose host is an address.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from ipaddress import ip_address
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from serve_app.http.errors import BadImage
from serve_app.http.reading.addresses import is_public

Lookup = Callable[[str, int], Awaitable[list[str]]]
"""(host, port) -> its addresses. Raises OSError when there are none."""

NOT_PUBLIC = "image URL refused: its host is, or resolves to, an address that is not public"

LOOKUPS = 64
"""Most names that are looked up at once: at least as many as downloads, so that no look-up waits for another one."""
# Threads of their own, so that a slow name server does not delay the decoding of images.
_name_threads = ThreadPoolExecutor(LOOKUPS, thread_name_prefix="names")
_begun: ContextVar[set["asyncio.Future[list[str]]"] | None] = ContextVar("begun", default=None)


def begun_lookups() -> set["asyncio.Future[list[str]]"]:
    """A set that gets the look-ups that this task begins from now on."""
    begun: set[asyncio.Future[list[str]]] = set()
    _begun.set(begun)
    return begun


def when_ended(lookups: set["asyncio.Future[list[str]]"], call: Callable[[], None]) -> None:
    """Call a function when look-ups have ended, now or later."""
    left = [lookup for lookup in lookups if not lookup.done()]
    if not left:
        call()
        return
    ended = asyncio.gather(*left, return_exceptions=True)
    ended.add_done_callback(lambda _: call())


async def look_up(host: str, port: int) -> list[str]:
    """The addresses of a host, by the system's resolver. Raises OSError."""
    found = await asyncio.get_running_loop().run_in_executor(
        _name_threads, lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    )
    return list(dict.fromkeys(str(item[4][0]) for item in found))


class CheckedResolver(AbstractResolver):
    """Resolves names to allowed addresses. A name with any forbidden address is refused."""

    def __init__(self, lookup: Lookup, allowed: Callable[[str], bool]) -> None:
        self._lookup = lookup
        self._allowed = allowed

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The checked addresses of a host. Raises BadImage."""
        try:
            lookup = asyncio.ensure_future(self._lookup(host, port))
            begun = _begun.get()
            if begun is not None:
                begun.add(lookup)
            addresses = await asyncio.shield(lookup)
        except (OSError, UnicodeError):
            addresses = []
        if not addresses:
            raise BadImage("image URL refused: its host does not resolve")
        if not all(self._allowed(address) for address in addresses):
            raise BadImage(NOT_PUBLIC)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6
                if ip_address(address.partition("%")[0]).version == 6
                else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Does nothing: the resolver holds no resources."""


def checked_session(
    allowed: Callable[[str], bool], *, lookup: Lookup = look_up, tls: ssl.SSLContext | None = None
) -> aiohttp.ClientSession:
    """A session without cookies, proxies or decompression that connects to allowed addresses only.

    Call this in a running event loop. `tls`: trust these authorities, not the system's.
    """

    def open_socket(address_info: Any) -> socket.socket:
        family, kind, protocol, _, address = address_info
        if not allowed(str(address[0])):
            raise BadImage(NOT_PUBLIC)
        return socket.socket(family, kind, protocol)

    connector = aiohttp.TCPConnector(
        resolver=CheckedResolver(lookup, allowed),
        use_dns_cache=False,
        socket_factory=open_socket,
        ssl=tls if tls is not None else True,
        keepalive_timeout=15,
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        trust_env=False,
        timeout=aiohttp.ClientTimeout(total=None),
    )


def allow_public(address: str) -> bool:
    """The rule for servers on a network: public addresses only."""
    return is_public(address)


def allow_any(_address: str) -> bool:
    """The rule where the operator trusts all clients (SAM3_URL_ALLOW_PRIVATE)."""
    return True
