"""A token bucket: limits requests per second, and allows one second's requests at once."""

from collections.abc import Callable


class Bucket:
    """Holds at most max(1, rate) tokens and gains `rate` tokens per second. Each process has its own."""

    def __init__(self, rate: float, clock: Callable[[], float]) -> None:
        self.rate = rate
        self._clock = clock
        self._size = max(1.0, rate)
        self._tokens = self._size
        self._at = clock()

    def take(self) -> float:
        """Take a token and return 0, or return the seconds until there is one."""
        now = self._clock()
        self._tokens = min(self._size, self._tokens + (now - self._at) * self.rate)
        self._at = now
        if self._tokens >= 1:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / self.rate
