"""A cache of recently fetched files by tenant and URL, limited by bytes (least recently used first) and by age.

The bytes are kept together with their digest, never the digest alone: the URL may give other bytes the next time, and
a digest must always belong to its own bytes.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FetchedImage:
    """A downloaded image file and its content id."""

    content: bytes
    content_id: str


class UrlCache:
    """(tenant, url) -> FetchedImage, for at most `max_bytes` and at most `max_age_s` each."""

    def __init__(self, max_bytes: int, max_age_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self._clock = clock
        self._entries: OrderedDict[tuple[str, str], tuple[FetchedImage, float]] = OrderedDict()
        self.bytes = 0

    def get(self, tenant: str, url: str) -> FetchedImage | None:
        """The file, if it is in the cache and not too old."""
        key = (tenant, url)
        if key not in self._entries:
            return None
        image, expires = self._entries[key]
        if expires <= self._clock():
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return image

    def put(self, tenant: str, url: str, image: FetchedImage, max_age_s: float) -> None:
        """Keep a file for `max_age_s` (as its server allows), but not longer than the cache's own limit."""
        key = (tenant, url)
        self._drop(key)
        age = min(max_age_s, self._max_age_s)
        if age <= 0 or len(image.content) > self._max_bytes:
            return
        self._entries[key] = (image, self._clock() + age)
        self.bytes += len(image.content)
        while self.bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: tuple[str, str]) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.bytes -= len(entry[0].content)


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
