"""The OpenAPI description of a tool's routes. Their request bodies are in FORMS of openapi.py's components."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from serve_app.http.sam3.route import ANSWER_HEADERS, ERRORS, PARAMETERS

_JSON_OBJECT = {"type": "object"}


def documented(
    summary: str,
    answer: Any,
    error: type[BaseModel],
    fields: type[BaseModel] | None = None,
    examples: dict[str, Any] | None = None,
    success: int = 200,
    parameters: Sequence[dict[str, Any]] = (),
    alternatives: Sequence[type[BaseModel]] = (),
    content: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Keyword arguments for a tool's route. error: the form of all errors. fields, alternatives: the schemas of the
    body; a route of GET has neither these nor examples. parameters: further
    ones. content: the OpenAPI `content` of an answer that is not JSON, in place of `answer`."""
    extra: dict[str, Any] = {"parameters": [*PARAMETERS, *parameters]}
    if fields is not None:
        refs = [{"$ref": f"#/components/schemas/{form.__name__}"} for form in (fields, *alternatives)]
        schema: dict[str, Any] = refs[0] if len(refs) == 1 else {"anyOf": refs}
        content = {"application/json": {"schema": schema, "examples": examples or {}}}
        extra["requestBody"] = {"required": True, "content": content}
    elif success == 201:
        extra["requestBody"] = {"required": True, "content": {"application/json": {"schema": _JSON_OBJECT}}}
    return {
        "summary": summary,
        "response_model": None,
        "responses": {
            success: {"headers": ANSWER_HEADERS, **({"content": content} if content else {"model": answer})},
            **{status: {**row, "model": error} for status, row in ERRORS.items()},
        },
        "openapi_extra": extra,
    }
