"""The OpenAPI description of the routes of Workflows: bodies and answers, in short. GET /workflows/blocks/describe
answers the schemas of the steps themselves."""

from typing import Any

from serve_app.http.sam3.examples import IMAGE
from serve_app.http.sam3.route import ERRORS, PARAMETERS
from serve_app.http.schemas import Message

SPECIFICATION: dict[str, Any] = {
    "version": "1.0",
    "inputs": [{"type": "InferenceImage", "name": "image"}],
    "steps": [
        {
            "type": "roboflow_core/sam3@v1",
            "name": "sam",
            "images": "$inputs.image",
            "class_names": "circle",
        },
        {
            "type": "roboflow_core/polygon_visualization@v1",
            "name": "drawn",
            "image": "$inputs.image",
            "predictions": "$steps.sam.predictions",
        },
    ],
    "outputs": [
        {"type": "JsonField", "name": "picture", "selector": "$steps.drawn.image"},
        {"type": "JsonField", "name": "predictions", "selector": "$steps.sam.predictions"},
    ],
}
_DEFINITION = {"type": "object", "description": "A workflow: version, inputs, steps, outputs."}
_INPUTS = {
    "type": "object",
    "description": "Values of the inputs by name. Images: {type: base64 or url, value}, or lists of them.",
}
_RUN = {
    "inputs": _INPUTS,
    "excluded_fields": {
        "type": ["array", "null"],
        "items": {"type": "string"},
        "description": "Outputs to leave out.",
    },
    "api_key": {"type": ["string", "null"]},
}
_SAVED = {
    "use_cache": {"type": "boolean", "default": True, "description": "False: read the definition anew."},
    "workflow_version_id": {"type": ["string", "null"]},
}
_ANSWER = {
    "type": "object",
    "properties": {"outputs": {"type": "array", "items": {"type": "object"}}},
    "required": ["outputs"],
    "description": "One object per image: the workflow's outputs by name.",
}
_ERRORS = {
    **ERRORS,
    400: {
        "description": "The definition is refused or does not compile, a step failed, or an image cannot be read."
    },
    404: {"model": Message, "description": "There is no such saved workflow, or the model is not served."},
}


def _post(schema: dict[str, Any], example: Any, answer: dict[str, Any] | None = None) -> dict[str, Any]:
    """Keyword arguments for `router.post`."""
    content = {"application/json": {"schema": schema, "example": example}}
    success = {"description": "OK", "content": {"application/json": {"schema": answer or {"type": "object"}}}}
    return {
        "response_model": None,
        "responses": {200: success, **_ERRORS},
        "openapi_extra": {"parameters": PARAMETERS, "requestBody": {"required": True, "content": content}},
    }


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required}


_EXAMPLE = {"specification": SPECIFICATION, "inputs": {"image": IMAGE}}
RUN = _post(_object(["specification", "inputs"], specification=_DEFINITION, **_RUN), _EXAMPLE, _ANSWER)
RUN_SAVED = _post(_object(["inputs"], **_RUN, **_SAVED), {"inputs": {"image": IMAGE}}, _ANSWER)
VALIDATE = _post(_DEFINITION, SPECIFICATION)
INTERFACE = _post(_object(["specification"], specification=_DEFINITION), {"specification": SPECIFICATION})
SAVED_INTERFACE = _post(_object([], **_SAVED), {})
BLOCKS = _post(_object([], execution_engine_version={"type": ["string", "null"]}), {})
