"""The forms of errors: `{"message": ...}` or FastAPI's `detail`; for the routes of an annotation tool, its own form."""

from collections.abc import Callable, Mapping
from typing import Any

import orjson
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

ErrorForm = Callable[[int, str, str], dict[str, Any]]
"""(status, message, name of the error's class, if it is known) -> the body of an error."""
OF_THE_BODY = ("content-length", "content-type")


class ErrorForms:
    """ASGI middleware that writes errors in the form of the tool whose path is asked, with their statuses and headers,
    whichever part of the server answers them. forms: by the first part of the tool's paths. Place it inside of what
    compresses answers, and outside of all that refuses requests."""

    def __init__(self, app: ASGIApp, *, forms: Mapping[str, ErrorForm]) -> None:
        self._app = app
        self._forms = forms

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        form = self._forms.get(_first_part(scope)) if scope["type"] == "http" else None
        if form is None:
            await self._app(scope, receive, send)
            return
        error: Message | None = None
        body = bytearray()

        async def send_in_form(message: Message) -> None:
            nonlocal error
            if message["type"] == "http.response.start" and message["status"] >= 400:
                error = message
                return
            if error is None:
                await send(message)
                return
            body.extend(message.get("body", b""))
            if not message.get("more_body", False):
                name = scope["state"]["exchange"].error
                await _in_form(error, bytes(body), form, name)(scope, receive, send)

        await self._app(scope, receive, send_in_form)


def _first_part(scope: Scope) -> str:
    path: str = scope["path"].removeprefix(scope.get("root_path", "").rstrip("/"))
    return path.lstrip("/").partition("/")[0]


def _in_form(start: Message, body: bytes, form: ErrorForm, name: str) -> JSONResponse:
    status: int = start["status"]
    given = Headers(raw=start["headers"])
    headers = {name: value for name, value in given.items() if name not in OF_THE_BODY}
    document = orjson.loads(body)
    message = document.get("message") or "; ".join(map(_sentence, document["detail"]))
    return JSONResponse(form(status, message, name), status, headers)


def _sentence(detail: dict[str, Any]) -> str:
    place = ".".join(map(str, detail["loc"][1:]))
    return f"{place}: {detail['msg']}" if place else str(detail["msg"])
