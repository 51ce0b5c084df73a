"""The number of requests that there may be at once, so that none waits long: learnt from their waiting times."""

import math
from collections import deque

FEWEST = 16
"""Lowest limit, whatever the waiting time: fewer requests at once would not fill a batch."""
GAIN = 0.1
"""Share of the distance to its new estimate by which each answer moves the limit."""
RECENT = 32
"""Number of answers over which the rate is computed."""
STALE_S = 10.0
"""Seconds without an answer after which the limit returns to its initial value."""


class Limit:
    """The most requests to let in at once, so that none waits for the model much longer than `max_wait_s`.

    By Little's law, waiting time is proportional to the number of requests inside. If each of `inside` requests waits
    `waited_s`, then `inside * max_wait_s / waited_s` requests would wait `max_wait_s`. So the limit follows the current
    speed of the replicas and needs no measured constant. After a start from zero, requests have waited long for the
    first replica, which says nothing about its speed. So the limit is never below the number of requests that are
    answered in `max_wait_s` at the current rate.
    """

    def __init__(self, most: int, max_wait_s: float) -> None:
        self._most = most
        self._max_wait_s = max_wait_s
        self._value = float(most)
        self._gaps: deque[float] = deque(maxlen=RECENT)
        """Seconds between answers, without the time in which no request was inside."""
        self._last = -math.inf

    @property
    def value(self) -> int:
        """Most requests that may be inside."""
        return round(self._value)

    def opened(self, now: float) -> None:
        """Forget old measurements. Call it when a request comes to an empty server."""
        if now - self._last > STALE_S:
            self._value = float(self._most)
            self._gaps.clear()

    def answered(self, inside: int, waited_s: float, began: float, now: float) -> None:
        """Learn from one answer. inside: requests inside when it came, itself included; began, now: its times."""
        self._gaps.append(now - max(began, self._last))
        self._last = now
        fits = float(self._most)
        if waited_s > self._max_wait_s / 2:  # shorter waits do not show where the limit is
            fits = max(inside * self._max_wait_s / waited_s, self.per_second() * self._max_wait_s)
        self._value += GAIN * (max(min(FEWEST, self._most), min(fits, self._most)) - self._value)

    def per_second(self) -> float:
        """The current rate of answers, without the longest gap: it may be the start of a replica. 0: unknown."""
        if len(self._gaps) < 2:
            return 0.0
        busy_s = sum(self._gaps) - max(self._gaps)
        return (len(self._gaps) - 1) / max(busy_s, 1e-6)
