"""The common OpenAPI description of the routes of videos."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from serve_app.http.sam3.route import ANSWER_HEADERS, ERRORS, PARAMETERS
from serve_app.http.schemas import Message

SESSION_ID_PATTERN = r"^[0-9a-f]{32}$"
IN_PATH: dict[str, Any] = {
    "name": "session_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": SESSION_ID_PATTERN},
    "description": "The session's id, from the answer that began it.",
}


class Conflict(Message):
    """The session cannot do it now: it expects another frame, or has no file, no such object or no room."""

    expected_frame: int | None = None
    """The number of the frame that it expects, where the request was about another one."""


def documented(
    summary: str,
    answer: type[BaseModel],
    *,
    about_session: bool = True,
    body: dict[str, Any] | None = None,
    in_order: bool = False,
    parameters: Sequence[dict[str, Any]] = (),
    content: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Keyword arguments for a route. body: the OpenAPI `requestBody`. in_order: it may be answered 409. parameters:
    further ones. content: the OpenAPI `content` of an answer that is not JSON."""
    statuses: Sequence[int] = (401, 429, 500, 503, 504)
    errors = {status: ERRORS[status] for status in statuses}
    if about_session:
        errors[422] = ERRORS[422]
        errors[404] = {"model": Message, "description": "The tenant has no such session, or it has ended."}
    if body is not None or parameters:
        errors |= {status: ERRORS[status] for status in (400, 413, 422)}
    if in_order:
        errors[409] = {"model": Conflict, "description": "The session cannot do it now."}
    return {
        "summary": summary,
        "response_model": None,
        "responses": {
            200: {"headers": ANSWER_HEADERS, **({"content": content} if content else {"model": answer})},
            **errors,
        },
        "openapi_extra": {
            "parameters": [*([IN_PATH] if about_session else []), *parameters, *PARAMETERS],
            **({"requestBody": body} if body is not None else {}),
        },
    }


def json_or_file(
    fields: type[BaseModel], with_file: type[BaseModel], examples: dict[str, Any]
) -> dict[str, Any]:
    """The `requestBody` of a JSON object, or of a form with the part `video`. with_file: the form's part `request`."""
    form = {
        "type": "object",
        "properties": {
            "video": {"type": "string", "format": "binary", "description": "The video file."},
            "request": {
                "$ref": f"#/components/schemas/{with_file.__name__}",
                "description": "The JSON body without `video`.",
            },
        },
        "required": ["video"],
    }
    body = json_body(fields, examples)
    body["content"]["multipart/form-data"] = {
        "schema": form,
        "encoding": {"request": {"contentType": "application/json"}},
    }
    return body


def json_body(fields: type[BaseModel], examples: dict[str, Any]) -> dict[str, Any]:
    """The `requestBody` of a JSON object."""
    schema = {"$ref": f"#/components/schemas/{fields.__name__}"}
    return {"required": True, "content": {"application/json": {"schema": schema, "examples": examples}}}
