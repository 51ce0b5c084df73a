"""Early refusal: what cannot be answered soon is refused before its body is read."""

import math
import time
from collections import deque

from starlette.types import ASGIApp, Receive, Scope, Send

from deployments.protocol import Overloaded
from serve_app.http.around.exchange import Exchange
from serve_app.http.errors import answer_error, name_of

FEWEST = 16
"""Requests that are let in however long they wait: one after the other would waste a batch."""
GAIN = 0.1
"""How far each answer moves the limit."""
RECENT = 32
"""Answers over which the rate is taken."""
STALE_S = 10.0
"""After so long without an answer the limit is what it was in the beginning."""


class Limit:
    """How many requests to let in at once, so that none of them waits much longer than it should for the model.

    By Little's law, waiting grows with the number inside: where each of `inside` requests waits `waited_s`,
    `inside * max_wait_s / waited_s` would wait as long as they may. So the limit follows what replicas and batches
    of the moment can do, without a number that somebody has to measure first. Requests that were held until the
    first replica came (a start from zero) waited long at a rate of nothing: so many as are answered in
    `max_wait_s` now are always let in.
    """

    def __init__(self, most: int, max_wait_s: float) -> None:
        self._most = most
        self._max_wait_s = max_wait_s
        self._value = float(most)
        self._gaps: deque[float] = deque(maxlen=RECENT)
        """Seconds between answers, while somebody waited for one."""
        self._last = -math.inf

    @property
    def value(self) -> int:
        """Requests that may be inside."""
        return round(self._value)

    def opened(self, now: float) -> None:
        """A request came to an empty server: what was learnt long ago no longer counts."""
        if now - self._last > STALE_S:
            self._value = float(self._most)
            self._gaps.clear()

    def answered(self, inside: int, waited_s: float, began: float, now: float) -> None:
        """Learn from one request: how many were inside when it came, itself included; how long it waited; times."""
        self._gaps.append(now - max(began, self._last))
        self._last = now
        fits = float(self._most)
        if waited_s > self._max_wait_s / 2:  # below that nothing says where the limit is
            fits = max(inside * self._max_wait_s / waited_s, self._per_second() * self._max_wait_s)
        self._value += GAIN * (max(min(FEWEST, self._most), min(fits, self._most)) - self._value)

    def _per_second(self) -> float:
        """The rate of late, the longest pause left out: it may be the start of a replica."""
        busy_s = sum(self._gaps) - max(self._gaps)
        return (len(self._gaps) - 1) / max(busy_s, 1e-6)


class Admission:
    """Lets as many requests in as the limit says; refuses others with 503.

    Only POST counts: whoever asks how the server is (readiness, metrics) is answered under load too.
    """

    def __init__(self, app: ASGIApp, *, most: int, max_wait_s: float, retry_after_s: float) -> None:
        self._app = app
        self._limit = Limit(most, max_wait_s)
        self._retry_after_s = retry_after_s
        self._inside = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        exchange: Exchange = scope["state"]["exchange"]
        if self._inside >= self._limit.value:
            error = Overloaded(self._retry_after_s)
            exchange.error = name_of(error)
            refusal = answer_error(error)
            assert refusal is not None
            await refusal(scope, receive, send)
            return
        self._inside += 1
        inside, began = self._inside, time.monotonic()
        if inside == 1:
            self._limit.opened(began)
        try:
            await self._app(scope, receive, send)
        finally:
            self._inside -= 1
            self._limit.answered(inside, exchange.timings.waited_s, began, time.monotonic())
