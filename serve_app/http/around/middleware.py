"""Middleware for every route: ids and timings, deadline, limit on bodies, unexpected errors."""

import asyncio
import logging
import time
from urllib.parse import parse_qsl, urlencode

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.protocol import DeadlineExceeded, Timings
from serve_app.http.around.exchange import Exchange, request_id_of
from serve_app.http.around.paths import check_headers, check_path, without_doubled_start
from serve_app.http.errors import INTERNAL_ERROR, TooLarge, answer_error, name_of

logger = logging.getLogger(__name__)

SECRETS = ("api_key", "service_secret")


class ExchangeMiddleware:
    """The outermost middleware: makes the Exchange, mends the path, removes secrets from the query, and adds every
    answer's headers."""

    def __init__(self, app: ASGIApp, *, timeout_s: float, model_id: str, answer_request_id: bool) -> None:
        self._app = app
        self._timeout_s = timeout_s
        self._model_id = model_id
        self._answer_request_id = answer_request_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        without_doubled_start(scope)
        given = Headers(scope=scope).get("x-request-id")
        timings = Timings(
            # A server in front that answers the id itself answers any id, so the log holds it as it is.
            request_id=request_id_of(given) if self._answer_request_id or not given else given,
            deadline=time.time() + self._timeout_s,
        )
        exchange = Exchange(timings, model_id=self._model_id, query_key=take_secrets(scope))
        scope["state"] = {**scope.get("state", {}), "exchange": exchange}

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = exchange.headers()
                if not self._answer_request_id:
                    headers = [header for header in headers if header[0] != b"x-request-id"]
                message["headers"] = [*message.get("headers", ()), *headers]
            await send(message)

        await self._app(scope, receive, send_with_headers)


class LastResort:
    """The innermost middleware: ends slow requests (504), limits the body, and answers unexpected errors (500)."""

    def __init__(self, app: ASGIApp, *, max_body_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange: Exchange = scope["state"]["exchange"]
        begun = False

        async def send_and_note(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            check_path(scope)
            check_headers(scope)
            await self._within_limits(exchange, scope, receive, send_and_note)
        except Exception as error:
            exchange.error = name_of(error)
            if begun:
                raise
            answer = answer_error(error)
            if answer is None:
                logger.exception("request %s: unforeseen error", exchange.timings.request_id)
                answer = JSONResponse(INTERNAL_ERROR, 500)
            await answer(scope, receive, send)

    async def _within_limits(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        limit = self._max_body_bytes
        too_large = TooLarge(f"the request body is larger than {limit} bytes")
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdecimal() and int(declared[:20]) > limit:
            raise too_large
        received = 0

        async def receive_limited() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            exchange.bytes_in = received
            if received > limit:
                raise too_large
            return message

        deadline = exchange.timings.deadline
        assert deadline is not None
        exchange.timer = timer = asyncio.timeout(deadline - time.time())
        try:
            async with timer:
                await self._app(scope, receive_limited, send)
        except TimeoutError:
            if not timer.expired():
                raise
            raise DeadlineExceeded from None


def take_secrets(scope: Scope) -> str | None:
    """Remove secrets from a scope's query string, so that no log holds them; return the API key, if there is one.

    The scope is changed in place: a server's access log reads the same object.
    """
    query = scope.get("query_string", b"")
    if b"%" not in query and not any(secret.encode() in query for secret in SECRETS):
        return None
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    scope["query_string"] = urlencode([pair for pair in pairs if pair[0] not in SECRETS]).encode("latin-1")
    return next((value for name, value in pairs if name == "api_key" and value), None)
