"""The common OpenAPI description of the routes of SAM 3: parameters, headers, errors, the forms of a body."""

from typing import Any

from pydantic import BaseModel

from serve_app.http.sam3.call import Forms
from serve_app.http.schemas import HTTPValidationError, Message, UnauthorizedMessage

IGNORED = "Accepted and ignored: clients of the hosted API send it."
PARAMETERS: list[dict[str, Any]] = [
    {
        "name": "api_key",
        "in": "query",
        "required": False,
        "schema": {"type": "string", "title": "API Key"},
        "description": "API key, if the server needs one. A Bearer header or the body's `api_key` works too.",
    },
    *(
        {"name": name, "in": "query", "required": False, "schema": {"type": "string"}, "description": IGNORED}
        for name in ("countinference", "service_secret", "source", "source_info", "disable_active_learning")
    ),
]
ANSWER_HEADERS: dict[str, Any] = {
    "X-Request-ID": {
        "schema": {"type": "string"},
        "description": "The request's own id, or one made for it.",
    },
    "X-Processing-Time": {"schema": {"type": "string"}, "description": "Seconds that the answer took."},
    "X-Model-Id": {"schema": {"type": "string"}, "description": "The model that answers."},
    "Server-Timing": {
        "schema": {"type": "string"},
        "description": "Milliseconds by stage; the cache's hit or miss.",
    },
}
ERRORS: dict[int | str, dict[str, Any]] = {
    400: {
        "model": Message,
        "description": "The image cannot be fetched or read, or the format is not supported.",
    },
    401: {"model": UnauthorizedMessage, "description": "No API key, or a wrong one."},
    404: {
        "model": Message,
        "description": "The image_id is not in the cache, or the model_id is not served.",
    },
    413: {"model": Message, "description": "The body or the image is too large."},
    422: {"model": HTTPValidationError, "description": "The request does not have the documented form."},
    429: {"model": Message, "description": "More requests per second than this key allows. See Retry-After."},
    500: {"model": Message, "description": "An error of the server, logged under the request's id."},
    503: {"model": Message, "description": "Too many requests are waiting. See Retry-After."},
    504: {"model": Message, "description": "The request took too long and was given up."},
}


def _ref(model: type[BaseModel]) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{model.__name__}"}


def body_of(forms: Forms[Any], examples: dict[str, Any]) -> dict[str, Any]:
    """The `requestBody` of a route for images."""
    whole = [_ref(form) for form in (forms.with_image, forms.with_id) if form is not None]
    needs_request = any(field.is_required() for field in forms.fields.model_fields.values())
    multipart = {
        "type": "object",
        "properties": {
            "image": {
                "anyOf": [
                    {"type": "string", "format": "binary"},
                    {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1},
                ],
                "description": "The image file. Several parts of this name are a list of images.",
            },
            "request": {**_ref(forms.fields), "description": "The JSON body without `image`."},
        },
        "required": ["image", "request"] if needs_request else ["image"],
    }
    return {
        "required": True,
        "content": {
            "application/json": {
                "schema": whole[0] if len(whole) == 1 else {"anyOf": whole},
                "examples": examples,
            },
            "multipart/form-data": {
                "schema": multipart,
                "encoding": {"request": {"contentType": "application/json"}},
            },
        },
    }


def documented(
    summary: str,
    forms: Forms[Any],
    examples: dict[str, Any],
    answer: Any,
    other_content: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Keyword arguments for `router.post`: a route for one image or a list, answered by one `answer` or a list."""
    success: dict[str, Any] = {"model": answer | list[answer], "headers": ANSWER_HEADERS}
    if other_content:
        success["content"] = other_content
    return {
        "summary": summary,
        "response_model": None,
        "responses": {200: success, **ERRORS},
        "openapi_extra": {"parameters": PARAMETERS, "requestBody": body_of(forms, examples)},
    }
