"""Downloads the images that requests give by URL.

Only https by default, and only images, by the type that their server says; where it says none, or only "bytes", the
bytes decide. Addresses are checked and pinned (see pinned.py) for each redirect again. Size and time are limited during
the download; the time of waiting for a place counts. Requests of one tenant for one URL share its download, and a
recent file is taken from a cache. Every refusal is a BadImage that names the rule, and never holds the other server's
answer.
"""

import asyncio
import hashlib
import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import aiohttp
from yarl import URL

from deployments.fairness.flows import Share
from deployments.fairness.places import Places
from deployments.fairness.queue import FairQueue, QueueFull, Rules
from deployments.protocol import Overloaded
from deployments.single_flight import SingleFlight
from serve_app.http.errors import BadImage
from serve_app.http.reading.digest import content_digest_off_loop
from serve_app.http.reading.pinned import (
    Lookup,
    allow_any,
    allow_public,
    begun_lookups,
    checked_session,
    look_up,
    when_ended,
)
from serve_app.http.reading.url_cache import FetchedImage, UrlCache, max_age
from serve_app.settings import Settings

MAX_URL_CHARACTERS = 8192
DOWNLOADS, OF_ONE_TENANT, SPARE = 40, 32, 16
"""Most downloads at once, of one tenant, and further ones for tenants that have none under way."""
MOST_WAITING = 256
CHUNK_BYTES = 64 * 1024
BYTES_DECIDE = ("application/octet-stream", "binary/octet-stream", "application/x-octet-stream")
"""Types that object stores send for every file."""
_MEDIA_TYPE = re.compile(r"[a-z0-9.+-]{1,40}/[a-z0-9.+-]{1,60}")
NAME_IT = (
    "The operator can name this tool's server in SAM3_TOOL_ORIGINS, where it is not a public one on https"
)
REDIRECTS = (301, 302, 303, 307, 308)
OF_TOOLS = {"Accept": "image/*, */*;q=0.1"}
"""Label Studio answers 406 where a client takes images alone, and sends an image."""
HEADERS = {"Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": "sam3-serve"}


@dataclass(frozen=True, slots=True)
class Access:
    """A client's right to read images of one server, its annotation tool. origin: `scheme://host[:port]`.
    authorization: the header, which is sent to that origin alone, after redirects too."""

    origin: URL
    authorization: str

    @property
    def mark(self) -> str:
        """A name for the cache: another right may see another file at the same URL."""
        return hashlib.sha256(f"{self.origin} {self.authorization}".encode()).hexdigest()


class ImageFetcher:
    """Fetches image files for one process and one event loop. Call `close` at the end."""

    def __init__(
        self, settings: Settings, *, lookup: Lookup = look_up, tls: ssl.SSLContext | None = None
    ) -> None:
        self._settings = settings
        self._schemes = ("https",) if settings.url_https_only else ("https", "http")
        self._tools = {URL(origin).origin() for origin in settings.tool_origins}
        public = allow_any if settings.url_allow_private else allow_public
        self._sessions = {
            False: _Session(partial(checked_session, public, lookup=lookup, tls=tls)),
            True: _Session(partial(checked_session, allow_any, lookup=lookup, tls=tls)),
        }
        """The sessions: True for the server of a tool, which the operator has named; False for any other server."""
        rules = Rules(MOST_WAITING, DOWNLOADS, OF_ONE_TENANT, SPARE)
        self._places = Places(FairQueue(rules, lambda: DOWNLOADS))
        self._flights: SingleFlight[FetchedImage] = SingleFlight()
        self._cache = UrlCache(settings.url_cache_bytes, settings.url_cache_s)

    async def fetch(self, tenant: str, url: str, access: Access | None = None) -> FetchedImage:
        """The file behind a URL. access: for an annotation tool's images. Servers in `SAM3_TOOL_ORIGINS` need not be
        public.

        Raises BadImage; Overloaded where it had to wait too long for its tenant's turn.
        """
        name = f"{access.mark} {url}" if access else url
        known = self._cache.get(tenant, name)
        if known is not None:
            return known
        try:
            return await self._flights.run((tenant, name), partial(self._download, tenant, url, access, name))
        except BadImage as error:
            if access is None or self._is_tool(access.origin):
                raise
            raise BadImage(f"{error}. {NAME_IT}") from None

    async def fetch_video(self, tenant: str, url: str, most_bytes: int, seconds: float) -> bytes:
        """The video file behind a URL, of `most_bytes` at most. It is not cached. Raises as `fetch`."""
        wanted = Wanted("video/", most_bytes, seconds)
        try:
            return (await self._download(tenant, url, None, "", wanted)).content
        except BadImage as error:
            said = str(error).replace("image URL", "video URL").replace("not an image", "not a video")
            raise BadImage(said) from None

    async def close(self) -> None:
        """Close the connections. A later fetch opens new ones."""
        for session in self._sessions.values():
            await session.close()

    async def _download(
        self, tenant: str, url: str, access: Access | None, name: str, wanted: "Wanted | None" = None
    ) -> FetchedImage:
        if not self._settings.image_urls:
            raise BadImage("image URLs are switched off on this server: send the image itself")
        if wanted is None:
            wanted = Wanted("image/", self._settings.url_max_bytes, self._settings.url_timeout_s)
        seconds = wanted.seconds
        waited_until = time.monotonic() + seconds
        try:
            async with asyncio.timeout(seconds):
                ticket = await self._places.enter(Share(tenant))
                waited_until = time.monotonic()
                names = begun_lookups()
                try:
                    content, age = await self._follow(url, access, wanted)
                finally:
                    # A look-up cannot be cancelled: its thread, and so this download's place, stays taken.
                    when_ended(names, partial(self._places.queue.leave, ticket))
        except QueueFull:
            raise Overloaded(self._settings.retry_after_s) from None
        except TimeoutError:
            if time.monotonic() < waited_until + seconds / 2:  # its server had little time to answer
                raise Overloaded(self._settings.retry_after_s) from None
            raise BadImage(f"image URL: no answer within {seconds:g} s") from None
        except aiohttp.InvalidURL:
            raise BadImage("image URL refused: its host is not a valid name or address") from None
        except aiohttp.ClientSSLError:
            raise BadImage("image URL refused: its server's certificate is not valid") from None
        except (aiohttp.ClientError, OSError, ValueError):
            raise BadImage("image URL: its server cannot be reached or does not speak HTTP") from None
        found = FetchedImage(content, await content_digest_off_loop(content), age)
        if name:
            self._cache.keep(tenant, name, found)
        return found

    async def _follow(self, url: str, access: Access | None, wanted: "Wanted") -> tuple[bytes, float]:
        """The file's bytes and the seconds that they may be cached, after following redirects."""
        target = parse_url(url)
        for _ in range(self._settings.url_max_redirects + 1):
            named = access is not None and self._is_tool(target)
            self._check(target, named=named)
            headers = {**HEADERS, **(OF_TOOLS if access is not None else {})}
            if access is not None and access.authorization and is_of(target, access.origin):
                headers["Authorization"] = access.authorization
            session = self._sessions[named].opened()
            async with session.get(target, headers=headers, allow_redirects=False) as response:
                if response.status not in REDIRECTS:
                    return await self._read(response, wanted), max_age(
                        response.headers.get("Cache-Control", "")
                    )
                location = response.headers.get("Location", "")
                target = target.join(parse_url(location))
        raise BadImage(f"image URL refused: more than {self._settings.url_max_redirects} redirects")

    def _is_tool(self, url: URL) -> bool:
        return any(is_of(url, origin) for origin in self._tools)

    def _check(self, url: URL, *, named: bool) -> None:
        """Check the text of a URL; its addresses are checked at the connection. named: the operator has named its
        server. Raises BadImage."""
        if url.user is not None or url.password is not None:
            raise BadImage("image URL refused: it holds a user name or password")
        if named:
            return
        if url.scheme not in self._schemes:
            raise BadImage(
                f"image URL refused: it must begin with {' or '.join(f'{s}://' for s in self._schemes)}"
            )
        if not url.host:
            raise BadImage("image URL refused: it names no host")
        if (allowed := self._settings.url_ports) and url.port not in allowed:
            ports = " or ".join(map(str, allowed))
            raise BadImage(f"image URL refused: its port must be {ports}")

    async def _read(self, response: aiohttp.ClientResponse, wanted: "Wanted") -> bytes:
        if response.status != 200:
            raise BadImage(f"image URL: its server answered {response.status}")
        kind = response.content_type  # application/octet-stream where there is none
        if not kind.startswith(wanted.kind) and kind not in BYTES_DECIDE:
            named = kind if _MEDIA_TYPE.fullmatch(kind) else "something else"
            raise BadImage(f"image URL refused: its server says that it is {named}, and not an image")
        if response.headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
            raise BadImage("image URL refused: its server sent a compressed answer")
        limit = wanted.most_bytes
        too_large = BadImage(f"image URL refused: the file is larger than {limit} bytes")
        if (response.content_length or 0) > limit:
            raise too_large
        content = bytearray()
        async for chunk in response.content.iter_chunked(CHUNK_BYTES):
            content += chunk
            if len(content) > limit:
                raise too_large
        return bytes(content)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to fetch. kind: how its media type begins. most_bytes, seconds: the limits."""

    kind: str
    most_bytes: int
    seconds: float


class _Session:
    """A client session that opens at its first use."""

    def __init__(self, make: Callable[[], aiohttp.ClientSession]) -> None:
        self._make = make
        self._session: aiohttp.ClientSession | None = None

    def opened(self) -> aiohttp.ClientSession:
        """The session, open."""
        if self._session is None or self._session.closed:
            self._session = self._make()
        return self._session

    async def close(self) -> None:
        """Close it, if it is open."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


def is_of(url: URL, origin: URL) -> bool:
    """True if a URL has the scheme, host and port of `origin`."""
    return (url.scheme, url.host, url.port) == (origin.scheme, origin.host, origin.port)


def parse_url(text: str) -> URL:
    """Parse a URL without normalising it, which would break signed URLs. Raises BadImage."""
    if len(text) > MAX_URL_CHARACTERS:
        raise BadImage(f"image URL refused: longer than {MAX_URL_CHARACTERS} characters")
    as_written = all("!" <= character <= "~" for character in text)
    try:
        url = URL(text, encoded=as_written)
        _ = url.port, url.host  # yarl parses both on access
    except ValueError:
        raise BadImage("image URL refused: it is not a URL") from None
    return url
