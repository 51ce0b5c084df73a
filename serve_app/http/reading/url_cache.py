"""A cache of recently fetched files by tenant and URL, limited by bytes (least recently used first) and by age.

The bytes are kept with their digest, never the digest alone: a URL may answer otherwise the next time, and a digest
must always stand for the bytes that it was made from.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from cachetools import TLRUCache


@dataclass(frozen=True, slots=True)
class FetchedImage:
    """A downloaded image file and its digest. max_age_s: how long its server allows it to be kept."""

    content: bytes
    digest: str
    max_age_s: float = float("inf")


class UrlCache(TLRUCache[tuple[str, str], FetchedImage, float]):
    """(tenant, url) -> FetchedImage, for at most `max_bytes` and at most `max_age_s` each."""

    def __init__(self, max_bytes: int, max_age_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(
            max_bytes,
            ttu=lambda _, image, now: now + min(image.max_age_s, max_age_s),
            timer=clock,
            getsizeof=lambda image: len(image.content),
        )

    def __setitem__(self, key: tuple[str, str], image: FetchedImage) -> None:
        """Keep a file, unless it is larger than the whole cache."""
        if len(image.content) <= self.maxsize:
            super().__setitem__(key, image)


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
