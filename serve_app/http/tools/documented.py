"""The OpenAPI description of a tool's routes. Their request bodies are in FORMS of openapi.py's components."""

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
) -> dict[str, Any]:
    """Keyword arguments for a tool's route. error: the form of all errors. fields: the schema of the body; a route of
    GET has neither fields nor examples."""
    extra: dict[str, Any] = {"parameters": PARAMETERS}
    if fields is not None:
        schema = {"$ref": f"#/components/schemas/{fields.__name__}"}
        content = {"application/json": {"schema": schema, "examples": examples or {}}}
        extra["requestBody"] = {"required": True, "content": content}
    elif success == 201:
        extra["requestBody"] = {"required": True, "content": {"application/json": {"schema": _JSON_OBJECT}}}
    return {
        "summary": summary,
        "response_model": None,
        "responses": {
            success: {"model": answer, "headers": ANSWER_HEADERS},
            **{status: {**row, "model": error} for status, row in ERRORS.items()},
        },
        "openapi_extra": extra,
    }
