"""The table of errors: every error of a request, and the answer to each.

Messages say what to do. They never hold the request's content, a key, a fetched body or a stack trace.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi.routing import iter_route_contexts
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.routing import compile_path
from starlette.types import Scope

from deployments.protocol import DeadlineExceeded, OtherContent, Overloaded, UnknownImage
from deployments.store.sessions import SessionsFull
from deployments.video.protocol import BadPrompt, NoFile, OutOfOrder, SessionConflict, UnknownSession
from deployments.workflows.definitions import UnknownWorkflow
from sam3_engine.errors import DeviceFull, ImageTooLarge, UnreadableImage, UnreadableVideo, VideoTooLarge
from serve_app.models import MalformedModelId as MalformedModelId
from serve_app.models import UnknownModel as UnknownModel


class InvalidRequest(Exception):
    """The request does not have the documented form. `errors`: items of FastAPI's `detail` list."""

    def __init__(self, errors: Sequence[dict[str, Any]]) -> None:
        super().__init__("the request does not have the documented form")
        self.errors = list(errors)

    @classmethod
    def one(cls, message: str, *loc: str | int, kind: str = "value_error") -> "InvalidRequest":
        """A single error at the place `loc` of the body."""
        return cls([{"loc": ["body", *loc], "msg": message, "type": kind}])

    @classmethod
    def of(cls, error: ValidationError, *where: str | int, inside: str = "body") -> "InvalidRequest":
        """Pydantic's errors about the part `where` of the body (or of the path), without the request's content."""
        found = error.errors(include_url=False, include_context=False, include_input=False)
        # Places such as "<xywh>" name a branch of a union, not a part of the request.
        branch = [[part for part in item["loc"] if not str(part).startswith("<")] for item in found]
        return cls(
            [
                {"loc": [inside, *where, *loc], "msg": item["msg"], "type": item["type"]}
                for item, loc in zip(found, branch, strict=True)
            ]
        )


class BadImage(Exception):
    """The image cannot be read: malformed base64, a refused type, a URL that is refused or does not answer."""


class MalformedHeaders(Exception):
    """The request's headers hold bytes that are no text."""


class UnsupportedFormat(Exception):
    """The request names a mask format that the route does not have."""

    def __init__(self, name: str, supported: Sequence[str], where: str = "") -> None:
        place = f" {where}" if where else ""
        super().__init__(f"format {name[:40]!r} is not supported{place}: use one of {', '.join(supported)}")


class NotKept(Exception):
    """The image to delete is not in the cache."""

    def __init__(self, image_id: str) -> None:
        super().__init__(f"image {image_id[:512]!r} is not in the cache")


class NoSuchFunction(Exception):
    """CVAT calls a function that is not here."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__(f"there is no such function: the functions are {', '.join(names)}")


class NoSuchTask(Exception):
    """X-AnyLabeling asks for a propagation that is not here."""

    def __init__(self) -> None:
        super().__init__(
            "there is no such task: it was replaced by a newer one, or ended long ago, or runs elsewhere"
        )


class TooLarge(Exception):
    """The body, or the requested answer, is over a limit."""


class SlowBody(Exception):
    """The request's body does not arrive in time."""


class UnsupportedEncoding(Exception):
    """The request's body is compressed in a way that the server does not read."""


class NoWorkflows(Exception):
    """This server has Workflows switched off."""


class NoVideo(Exception):
    """This server has videos switched off."""

    def __init__(self) -> None:
        super().__init__("videos are switched off on this server: start it with SAM3_VIDEO=true")


class Unauthorized(Exception):
    """The request has no key, or a key of no tenant."""

    def __init__(self) -> None:
        super().__init__("Unauthorized api_key")


class Forbidden(Exception):
    """A server without keys is asked by a foreign name, or by a page of another origin."""


class RateLimited(Exception):
    """The tenant sends more requests per second than the key file allows."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__("too many requests for this API key: slow down")
        self.retry_after_s = retry_after_s


class InList(Exception):
    """One image of a list failed, and so the whole list fails. `error` is an error of the table."""

    def __init__(self, index: int, error: Exception) -> None:
        super().__init__(f"image {index} of the list: {error}" if str(error) else "")
        self.error = error


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table: the status, and all differences from `{"message": str(error)}`."""

    status: int
    message: str = "the request failed"
    """The message for errors without one."""
    extra: Callable[[Any], dict[str, Any]] = lambda _: {}
    headers: Callable[[Any], dict[str, str]] = lambda _: {}


def _retry_after(error: Overloaded | RateLimited) -> dict[str, str]:
    return {"Retry-After": str(max(1, math.ceil(error.retry_after_s)))}


TABLE: dict[type[Exception], Row] = {
    BadImage: Row(400),
    UnreadableImage: Row(400),
    UnreadableVideo: Row(400),
    UnsupportedFormat: Row(400),
    MalformedHeaders: Row(400, "the headers hold bytes that are not UTF-8"),
    MalformedModelId: Row(400),
    ClientDisconnect: Row(400, "the upload was cut: the connection closed before the whole body had arrived"),
    Unauthorized: Row(401, extra=lambda _: {"status": 401}, headers=lambda _: {"WWW-Authenticate": "Bearer"}),
    Forbidden: Row(403),
    UnknownImage: Row(404),
    NotKept: Row(404),
    UnknownModel: Row(404),
    UnknownWorkflow: Row(404),
    NoSuchFunction: Row(404),
    NoSuchTask: Row(404),
    UnknownSession: Row(404),
    NoFile: Row(409),
    SessionConflict: Row(409),
    OutOfOrder: Row(409, extra=lambda error: {"expected_frame": error.expected}),
    SlowBody: Row(408, "the upload is too slow: the request's body did not arrive in time"),
    TooLarge: Row(413),
    ImageTooLarge: Row(413),
    VideoTooLarge: Row(413),
    UnsupportedEncoding: Row(415, headers=lambda _: {"Accept-Encoding": "gzip, identity"}),
    RateLimited: Row(429, headers=_retry_after),
    SessionsFull: Row(
        429,
        "there is no room for another video session: delete one, or wait until idle ones have ended",
        headers=lambda _: {"Retry-After": "10"},
    ),
    NoWorkflows: Row(501),
    NoVideo: Row(501),
    Overloaded: Row(503, "the server is busy", headers=_retry_after),
    DeviceFull: Row(503, headers=lambda _: {"Retry-After": "1"}),
    DeadlineExceeded: Row(504, "the request took too long and was given up"),
}

INTERNAL_ERROR = {"message": "Internal error."}


def row_of(error: Exception) -> Row | None:
    """The row of an error's class, or of the nearest of its base classes."""
    return next((TABLE[kind] for kind in type(error).__mro__ if kind in TABLE), None)


def answer_error(error: Exception) -> JSONResponse | None:
    """The answer to an error of the table; None for any other error."""
    if isinstance(error, OtherContent):
        error = InvalidRequest.one(str(error), "image_id")
    if isinstance(error, BadPrompt):
        error = InvalidRequest.one(str(error), "prompts")
    if isinstance(error, InvalidRequest):
        return JSONResponse({"detail": error.errors}, 422)
    cause = error.error if isinstance(error, InList) else error
    row = row_of(cause)
    if row is None:
        return None
    body = {**row.extra(cause), "message": str(error) or row.message}
    return JSONResponse(body, row.status, row.headers(cause))


def name_of(error: Exception) -> str:
    """The error's class, for logs."""
    return type(error.error if isinstance(error, InList) else error).__name__


def routes_there_are(app: FastAPI) -> str:
    """The documented routes of an app in words, for clients that ask for others of the hosted API."""
    paths = app.openapi()["paths"]
    listed = [f"{method.upper()} {path}" for path, methods in paths.items() for method in methods]
    return f"it has {', '.join(listed)}. See /docs"


def methods_there_are(app: FastAPI, scope: Scope) -> str:
    """The methods of a request's path, as `Allow` lists them. Several routes may share a path."""
    path = scope["path"].removeprefix(scope.get("root_path", "").rstrip("/"))
    routes = [route for route in iter_route_contexts(app.routes) if route.path is not None]
    matching = [route for route in routes if compile_path(str(route.path))[0].match(path)]
    found = {name for route in matching for name in route.methods or ()}
    found = found or {"GET"}  # a mount's files
    return ", ".join(sorted(found | ({"HEAD"} if "GET" in found else set())))


def install(app: FastAPI) -> None:
    """Make the app answer the table's errors, and starlette's own (404, 405), as `{"message": ...}`."""

    async def foreseen(request: Request, error: Exception) -> JSONResponse:
        answer = answer_error(error)
        assert answer is not None
        request.scope["state"]["exchange"].error = name_of(error)
        return answer

    async def http_exception(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        message, headers = error.detail, dict(error.headers or {})
        if error.status_code == 404 and message == HTTPStatus.NOT_FOUND.phrase:
            message = f"this server has no such route: {routes_there_are(app)}"
        if error.status_code == 405:
            headers["Allow"] = methods_there_are(app, request.scope)
            message = f"this route has no such method: it has {headers['Allow']}"
        return JSONResponse({"message": message}, error.status_code, headers)

    for kind in (InvalidRequest, OtherContent, BadPrompt, InList, *TABLE):
        app.add_exception_handler(kind, foreseen)
    app.add_exception_handler(HTTPException, http_exception)
