"""What the OpenAPI document says of the three routes: parameters, bodies, answers, examples."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel

from serve_app.http.sam3.answers import (
    DeletedImage,
    KeptImages,
    Sam2SegmentationResponse,
    Sam3SegmentationResponse,
)
from serve_app.http.sam3.concept import (
    Sam3CachedSegmentationRequest,
    Sam3SegmentationFields,
    Sam3SegmentationRequest,
)
from serve_app.http.sam3.examples import CONCEPT_EXAMPLES, EMBED_EXAMPLES, VISUAL_EXAMPLES
from serve_app.http.sam3.image_fields import Sam3EmbedFields, Sam3EmbedImageRequest, Sam3EmbedImageResponse
from serve_app.http.sam3.visual import (
    Sam2CachedSegmentationRequest,
    Sam2SegmentationFields,
    Sam2SegmentationRequest,
)
from serve_app.http.schemas import HTTPValidationError, Message, UnauthorizedMessage

REQUEST_MODELS: tuple[type[BaseModel], ...] = (
    Sam3SegmentationRequest,
    Sam3CachedSegmentationRequest,
    Sam3SegmentationFields,
    Sam2SegmentationRequest,
    Sam2CachedSegmentationRequest,
    Sam2SegmentationFields,
    Sam3EmbedImageRequest,
    Sam3EmbedFields,
)

IGNORED = "Accepted and ignored: clients of the hosted API send it."
PARAMETERS: list[dict[str, Any]] = [
    {
        "name": "api_key",
        "in": "query",
        "required": False,
        "schema": {"type": "string", "title": "API Key"},
        "description": "API key, where the server asks for one. A Bearer header or the body's `api_key` do.",
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
        "description": "The image cannot be had or read, or the format is not supported.",
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


def _body(fields: type[BaseModel], forms: list[type[BaseModel]], examples: dict[str, Any]) -> dict[str, Any]:
    schema = _ref(forms[0]) if len(forms) == 1 else {"anyOf": [_ref(form) for form in forms]}
    needs_request = any(field.is_required() for field in fields.model_fields.values())
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
            "request": {**_ref(fields), "description": "The JSON body without `image`."},
        },
        "required": ["image", "request"] if needs_request else ["image"],
    }
    return {
        "required": True,
        "content": {
            "application/json": {"schema": schema, "examples": examples},
            "multipart/form-data": {
                "schema": multipart,
                "encoding": {"request": {"contentType": "application/json"}},
            },
        },
    }


def _route(
    summary: str,
    body: dict[str, Any],
    answer: Any,
    other_content: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Keyword arguments for `router.post`."""
    success: dict[str, Any] = {"model": answer, "headers": ANSWER_HEADERS}
    if other_content:
        success["content"] = other_content
    return {
        "summary": summary,
        "response_model": None,
        "responses": {200: success, **ERRORS},
        "openapi_extra": {"parameters": PARAMETERS, "requestBody": body},
    }


CONCEPT = _route(
    "SAM3 PCS (promptable concept segmentation)",
    _body(
        Sam3SegmentationFields,
        [Sam3SegmentationRequest, Sam3CachedSegmentationRequest],
        CONCEPT_EXAMPLES,
    ),
    Sam3SegmentationResponse | list[Sam3SegmentationResponse],
)
VISUAL = _route(
    "SAM3 PVS (promptable visual segmentation)",
    _body(
        Sam2SegmentationFields,
        [Sam2SegmentationRequest, Sam2CachedSegmentationRequest],
        VISUAL_EXAMPLES,
    ),
    Sam2SegmentationResponse | list[Sam2SegmentationResponse],
    {
        "application/octet-stream": {
            "schema": {
                "type": "string",
                "format": "binary",
                "description": "format `binary`: an .npz file with masks, confidences, low_res_logits",
            }
        }
    },
)


def _about_images(
    summary: str, answer: type[BaseModel], parameters: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    """Keyword arguments for a route without a body."""
    errors = {status: ERRORS[status] for status in (401, 429, 500, 503, 504)}
    if parameters:
        errors[404] = {"model": Message, "description": "There is no such image."}
    return {
        "summary": summary,
        "response_model": None,
        "responses": {200: {"model": answer, "headers": ANSWER_HEADERS}, **errors},
        "openapi_extra": {"parameters": [*parameters, *PARAMETERS]},
    }


IMAGE_ID: dict[str, Any] = {
    "name": "image_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "minLength": 1, "maxLength": 512},
    "description": "The id that the client gave the image, or the one that it was answered.",
}
IMAGES = _about_images("The images that the server keeps", KeptImages)
DELETE_IMAGE = _about_images("Delete an image", DeletedImage, [IMAGE_ID])
EMBED = _route(
    "SAM3 image embedding",
    _body(Sam3EmbedFields, [Sam3EmbedImageRequest], EMBED_EXAMPLES),
    Sam3EmbedImageResponse | list[Sam3EmbedImageResponse],
)
