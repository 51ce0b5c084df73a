"""Early refusal: what cannot be answered soon is refused before its body is read."""

from starlette.types import ASGIApp, Receive, Scope, Send

from deployments.protocol import Overloaded
from serve_app.http.errors import answer_error


class Admission:
    """Lets so many requests in at once that the queue behind them stays short; refuses others with 503.

    Only POST counts: whoever asks how the server is (readiness, metrics) is answered under load too.
    """

    def __init__(self, app: ASGIApp, *, limit: int, retry_after_s: float) -> None:
        self._app = app
        self._limit = limit
        self._retry_after_s = retry_after_s
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        if self._in_flight >= self._limit:
            refusal = answer_error(Overloaded(self._retry_after_s))
            assert refusal is not None
            await refusal(scope, receive, send)
            return
        self._in_flight += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._in_flight -= 1
