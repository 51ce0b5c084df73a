"""A token bucket: limits requests per second, and allows one second's requests at once."""

import math
from collections.abc import Callable


class Bucket:
    """Holds at most max(1, rate) tokens and gains `rate` tokens per second. Each process has its own."""

    def __init__(self, rate: float, clock: Callable[[], float]) -> None:
        self.rate = rate
        self._clock = clock
        self._size = max(1.0, rate)
        self._tokens = self._size
        self._at = clock()

    def headers(self) -> dict[str, str]:
        """The limit, its rest and the seconds until all of it is there again, under the names of the IETF's draft
        (draft-ietf-httpapi-ratelimit-headers-07)."""
        self._fill()
        return {
            "ratelimit-limit": str(int(self._size)),
            "ratelimit-remaining": str(int(self._tokens)),
            "ratelimit-reset": str(math.ceil((self._size - self._tokens) / self.rate)),
            "ratelimit-policy": f"{int(self._size)};w={math.ceil(self._size / self.rate)}",
        }

    @property
    def left(self) -> int:
        """Whole tokens."""
        self._fill()
        return int(self._tokens)

    def _fill(self) -> None:
        now = self._clock()
        self._tokens = min(self._size, self._tokens + (now - self._at) * self.rate)
        self._at = now

    def take(self) -> float:
        """Take a token and return 0, or return the seconds until there is one."""
        self._fill()
        if self._tokens >= 1:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / self.rate
