"""Middleware of HTTP's own rules that the frameworks leave out: HEAD, refused compression, errors of CORS in JSON."""

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Head:
    """ASGI middleware that answers HEAD as GET without the body. Place it outside of the compression of answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self._app({**scope, "method": "GET"}, receive, send_without_body)


class Gzip(GZipMiddleware):
    """Compresses answers for clients that accept gzip; `gzip;q=0` and `*;q=0` refuse it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] == "http":
            # The base class looks for the word alone.
            headers = MutableHeaders(raw=list(scope["headers"]))
            headers["accept-encoding"] = "gzip" if accepts_gzip(Headers(scope=scope)) else "identity"
            scope = {**scope, "headers": headers.raw}
        await super().__call__(scope, receive, send)


def accepts_gzip(headers: Headers) -> bool:
    """True if `Accept-Encoding` allows gzip by its name, or else by `*`."""
    weights: dict[str, float] = {}
    for item in ",".join(headers.getlist("accept-encoding")).split(","):
        name, *parameters = (part.strip().lower() for part in item.split(";"))
        weights[name] = next((_weight(one[2:]) for one in parameters if one.startswith("q=")), 1.0)
    named = [weights[name] for name in ("gzip", "x-gzip") if name in weights]
    return max(named) > 0 if named else weights.get("*", 0.0) > 0


def _weight(text: str) -> float:
    """A quality value; one that is malformed refuses, which is always safe."""
    try:
        return float(text)
    except ValueError:
        return 0.0


class Cors(CORSMiddleware):
    """Starlette's, with refusals in JSON."""

    def preflight_response(self, request_headers: Headers) -> Response:
        """The answer to a browser that asks whether a page may send a request."""
        answer = super().preflight_response(request_headers)
        if answer.status_code < 400:
            return answer
        headers = {name: text for name, text in answer.headers.items() if not name.startswith("content-")}
        return JSONResponse({"message": bytes(answer.body).decode()}, answer.status_code, headers)
