"""Reads compressed request bodies: gzip is expanded as it arrives, within the limit on bodies."""

import asyncio
import zlib
from collections.abc import AsyncIterator

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_app.http.errors import InvalidRequest, TooLarge, UnsupportedEncoding

GZIP = ("gzip", "x-gzip")
STEP_BYTES = 256 * 1024
"""Most bytes expanded before the event loop turns to other requests."""
_GZIP_WINDOW = 16 + zlib.MAX_WBITS


class Gunzip:
    """ASGI middleware that gives the application the expanded body. `max_body_bytes`: of the expanded body."""

    def __init__(self, app: ASGIApp, *, max_body_bytes: int) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI. Raises UnsupportedEncoding; `receive` raises TooLarge, InvalidRequest."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        encoding = Headers(scope=scope).get("content-encoding", "").strip().lower()
        if encoding in ("", "identity"):
            await self._app(scope, receive, send)
            return
        if encoding not in GZIP:
            raise UnsupportedEncoding(
                "this Content-Encoding is not supported: send the body as it is, or as gzip"
            )
        told_of = (b"content-encoding", b"content-length")  # both are about the compressed body
        headers = [header for header in scope["headers"] if header[0].lower() not in told_of]
        parts = self._expanded(receive)

        async def receive_expanded() -> Message:
            message = await anext(parts, None)
            return message if message is not None else await receive()  # after the body: the connection's end

        await self._app({**scope, "headers": headers}, receive_expanded, send)

    async def _expanded(self, receive: Receive) -> AsyncIterator[Message]:
        """The messages of the expanded body."""
        expand, size, more, begun = zlib.decompressobj(_GZIP_WINDOW), 0, True, False
        while more:
            message = await receive()
            if message["type"] != "http.request":
                yield message
                return
            more, pending = message.get("more_body", False), message.get("body", b"")
            begun = begun or bool(pending)
            while pending:
                if expand.eof:  # a file may consist of several compressed parts
                    expand = zlib.decompressobj(_GZIP_WINDOW)
                try:
                    part = expand.decompress(pending, STEP_BYTES)
                except zlib.error:
                    raise InvalidRequest.one("the body is not gzip, as its Content-Encoding says") from None
                pending = expand.unused_data if expand.eof else expand.unconsumed_tail
                size += len(part)
                if size > self._max_body_bytes:
                    raise TooLarge(f"the expanded request body is larger than {self._max_body_bytes} bytes")
                yield {"type": "http.request", "body": part, "more_body": True}
                await asyncio.sleep(0)
        if begun and not expand.eof:
            raise InvalidRequest.one("the gzip body ends too early: the upload was cut", kind="cut")
        yield {"type": "http.request", "body": b"", "more_body": False}
