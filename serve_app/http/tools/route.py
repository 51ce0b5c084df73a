"""A tool's router. It answers the errors of the table in the tool's own form, with their statuses and headers. It reads
the API key where a tool can send one, a Basic password or the header `Token`, after the places of all routes."""

from collections.abc import Callable, Coroutine
from typing import Any

import orjson
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute

from serve_app.http.around.exchange import exchange_of
from serve_app.http.errors import answer_error, name_of
from serve_app.http.tenants.auth import password_key

ErrorForm = Callable[[int, str], dict[str, Any]]
"""(status, message) -> the body of an error."""
OF_THE_BODY = ("content-length", "content-type")


def tool_router(name: str, form: ErrorForm, prefix: str = "") -> APIRouter:
    """A router for a tool of this name in the documentation."""
    return APIRouter(
        prefix=prefix,
        tags=[name],
        route_class=_route_class(form),
        dependencies=[Depends(_take_key)],
    )


async def _take_key(request: Request) -> None:
    headers = request.headers
    exchange_of(request).tool_key = password_key(headers.get("authorization")) or headers.get("token")


def _route_class(form: ErrorForm) -> type[APIRoute]:
    class ToolRoute(APIRoute):
        """A route whose errors have the tool's form."""

        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            """FastAPI's hook around a handler."""
            handler = super().get_route_handler()

            async def handle(request: Request) -> Response:
                try:
                    return await handler(request)
                except Exception as error:
                    answer = answer_error(error)
                    if answer is None:
                        raise
                    exchange_of(request).error = name_of(error)
                    return _in_form(answer, form)

            return handle

    return ToolRoute


def _in_form(answer: JSONResponse, form: ErrorForm) -> JSONResponse:
    headers = {name: value for name, value in answer.headers.items() if name not in OF_THE_BODY}
    body = orjson.loads(answer.body)
    message = body.get("message") or "; ".join(map(_sentence, body["detail"]))
    return JSONResponse(form(answer.status_code, message), answer.status_code, headers)


def _sentence(detail: dict[str, Any]) -> str:
    place = ".".join(map(str, detail["loc"][1:]))
    return f"{place}: {detail['msg']}" if place else str(detail["msg"])
