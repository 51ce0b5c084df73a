"""A cache of recently fetched files by tenant and URL, limited by bytes and by age. Tenants share its bytes as they
share the hot tier's.

The bytes are kept with their digest, never the digest alone: a URL may answer otherwise the next time, and a digest
must always stand for the bytes that it was made from.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from deployments.decoder.hot import HotCache


@dataclass(frozen=True, slots=True)
class FetchedImage:
    """A downloaded image file and its digest. max_age_s: how long its server allows it to be kept."""

    content: bytes
    digest: str
    max_age_s: float = float("inf")


class _Key(NamedTuple):
    tenant: str
    url: str


@dataclass(frozen=True, slots=True)
class _Kept:
    image: FetchedImage
    until: float

    @property
    def nbytes(self) -> int:
        return len(self.image.content)


class UrlCache:
    """The files, for at most `max_bytes` of all and at most `max_age_s` each."""

    def __init__(self, max_bytes: int, max_age_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_age_s = max_age_s
        self._clock = clock
        self._files: HotCache[_Key, _Kept] = HotCache(max_bytes, max_age_s, clock)

    @property
    def used(self) -> int:
        """Bytes of all files."""
        return self._files.used

    def get(self, tenant: str, url: str) -> FetchedImage | None:
        """A file that is not too old."""
        key = _Key(tenant, url)
        found = self._files.get(key)
        if found is None:
            return None
        if found.until <= self._clock():
            self._files.discard(key)
            return None
        return found.image

    def keep(self, tenant: str, url: str, image: FetchedImage) -> None:
        """Keep a file, unless it is larger than the whole cache or may not be kept."""
        age = min(image.max_age_s, self._max_age_s)
        if len(image.content) <= self._files.budget and age > 0:
            self._files.put(_Key(tenant, url), _Kept(image, self._clock() + age))


def max_age(cache_control: str) -> float:
    """Seconds that a `Cache-Control` header allows a file to be kept; infinite when it does not say."""
    age = float("inf")
    for directive in cache_control.lower().split(","):
        name, _, value = directive.strip().partition("=")
        if name in ("no-store", "no-cache"):
            return 0.0
        if name == "max-age":
            try:
                age = float(int(value.strip('" ')))
            except ValueError:
                return 0.0
    return age
