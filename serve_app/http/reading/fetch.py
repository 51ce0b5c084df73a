"""Downloads the images that requests give by URL.

Only https by default, and only images, by the type that their server says; where it says none, or only "bytes", the
bytes decide. Addresses are checked and pinned (see pinned.py) for each redirect again. Size and time are limited during
the download; the time of waiting for a place counts. Requests of one tenant for one URL share its download, and a
recent file is taken from a cache. Every refusal is a BadImage that names the rule, and never holds the other server's
answer.
"""

import asyncio
import re
import ssl
import time
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
REDIRECTS = (301, 302, 303, 307, 308)
HEADERS = {"Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": "sam3-serve"}


class ImageFetcher:
    """Fetches image files for one process and one event loop. Call `close` at the end."""

    def __init__(
        self, settings: Settings, *, lookup: Lookup = look_up, tls: ssl.SSLContext | None = None
    ) -> None:
        self._settings = settings
        self._schemes = ("https",) if settings.url_https_only else ("https", "http")
        self._session_of = partial(
            checked_session, allow_any if settings.url_allow_private else allow_public, lookup=lookup, tls=tls
        )
        self._session: aiohttp.ClientSession | None = None
        rules = Rules(MOST_WAITING, DOWNLOADS, OF_ONE_TENANT, SPARE)
        self._places = Places(FairQueue(rules, lambda: DOWNLOADS))
        self._flights: SingleFlight[FetchedImage] = SingleFlight()
        self._cache = UrlCache(settings.url_cache_bytes, settings.url_cache_s)

    async def fetch(self, tenant: str, url: str) -> FetchedImage:
        """The file behind a URL. Raises BadImage; Overloaded where it had to wait too long for its tenant's turn."""
        known = self._cache.get(tenant, url)
        if known is not None:
            return known
        return await self._flights.run((tenant, url), partial(self._download, tenant, url))

    async def close(self) -> None:
        """Close the connections. A later fetch opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _download(self, tenant: str, url: str) -> FetchedImage:
        if not self._settings.image_urls:
            raise BadImage("image URLs are switched off on this server: send the image itself")
        seconds = self._settings.url_timeout_s
        waited_until = time.monotonic() + seconds
        try:
            async with asyncio.timeout(seconds):
                ticket = await self._places.enter(Share(tenant))
                waited_until = time.monotonic()
                names = begun_lookups()
                try:
                    content, age = await self._follow(url)
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
        image = FetchedImage(content, await content_digest_off_loop(content), age)
        self._cache.keep(tenant, url, image)
        return image

    async def _follow(self, url: str) -> tuple[bytes, float]:
        """The file's bytes and the seconds that they may be cached, after following redirects."""
        target = self._checked(parse_url(url))
        if self._session is None or self._session.closed:
            self._session = self._session_of()
        for _ in range(self._settings.url_max_redirects + 1):
            async with self._session.get(target, headers=HEADERS, allow_redirects=False) as response:
                if response.status not in REDIRECTS:
                    return await self._read(response), max_age(response.headers.get("Cache-Control", ""))
                location = response.headers.get("Location", "")
                target = self._checked(target.join(parse_url(location)))
        raise BadImage(f"image URL refused: more than {self._settings.url_max_redirects} redirects")

    def _checked(self, url: URL) -> URL:
        """Check the text of a URL; its addresses are checked at the connection. Raises BadImage."""
        if url.scheme not in self._schemes:
            raise BadImage(
                f"image URL refused: it must begin with {' or '.join(f'{s}://' for s in self._schemes)}"
            )
        if not url.host:
            raise BadImage("image URL refused: it names no host")
        if (allowed := self._settings.url_ports) and url.port not in allowed:
            ports = " or ".join(map(str, allowed))
            raise BadImage(f"image URL refused: its port must be {ports}")
        if url.user is not None or url.password is not None:
            raise BadImage("image URL refused: it holds a user name or password")
        return url

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        if response.status != 200:
            raise BadImage(f"image URL: its server answered {response.status}")
        kind = response.content_type  # application/octet-stream where there is none
        if not kind.startswith("image/") and kind not in BYTES_DECIDE:
            named = kind if _MEDIA_TYPE.fullmatch(kind) else "something else"
            raise BadImage(f"image URL refused: its server says that it is {named}, and not an image")
        if response.headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
            raise BadImage("image URL refused: its server sent a compressed answer")
        limit = self._settings.url_max_bytes
        too_large = BadImage(f"image URL refused: the file is larger than {limit} bytes")
        if (response.content_length or 0) > limit:
            raise too_large
        content = bytearray()
        async for chunk in response.content.iter_chunked(CHUNK_BYTES):
            content += chunk
            if len(content) > limit:
                raise too_large
        return bytes(content)


def parse_url(text: str) -> URL:
    """Parse a URL without normalising it, which would break signed URLs. Raises BadImage."""
    if len(text) > MAX_URL_CHARACTERS:
        raise BadImage(f"image URL refused: longer than {MAX_URL_CHARACTERS} characters")
    as_written = all("!" <= character <= "~" for character in text)
    try:
        url = URL(text, encoded=as_written)
        _ = url.port  # yarl parses the port on access
    except ValueError:
        raise BadImage("image URL refused: it is not a URL") from None
    return url
