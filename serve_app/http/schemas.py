"""Field types that the request and response schemas share, and the shapes of errors.

Validation is strict: a number written as a string, or 1 for true, is a wrong type (422). `null` means the same
as a missing optional field.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from sam3_engine.image_ids import ID_PATTERN, MAX_ID_CHARACTERS, image_id
from sam3_engine.prompt_values import COORDINATE_LIMIT, label
from serve_app.model_file import DEFAULT_MODEL_ID

MAX_TEXT_CHARACTERS = 1000
"""Longest text. The text encoder reads 30 tokens; the answer warns of a text that has more."""

MAX_PROMPTS = 16
MAX_BOXES = 256
MAX_VISUAL_PROMPTS = 256
MAX_POINTS = 256
MAX_LIST = 1024
"""Longest list of images that is parsed; a server's own limit (SAM3_MAX_IMAGES) is lower."""

Coordinate = Annotated[float, Field(ge=-COORDINATE_LIMIT, le=COORDINATE_LIMIT, allow_inf_nan=False)]
Length = Annotated[float, Field(ge=0, le=COORDINATE_LIMIT, allow_inf_nan=False)]
Threshold = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


def _image_id(text: str) -> str:
    try:
        return image_id(text)
    except ValueError as error:
        raise PydanticCustomError("image_id", str(error)) from None


ImageId = Annotated[
    str,
    Field(min_length=1, max_length=MAX_ID_CHARACTERS, json_schema_extra={"pattern": ID_PATTERN}),
    AfterValidator(_image_id),
]
"""An image's id, in bodies and paths."""
IMAGE_ID: TypeAdapter[str] = TypeAdapter(ImageId)


def _label(value: Any) -> bool:
    """Accepts true and false, 1 and 0, and 1.0 and 0.0."""
    try:
        return label(value)
    except ValueError:
        raise PydanticCustomError("label", "Input should be 0, 1, true or false") from None


Label = Annotated[
    bool,
    BeforeValidator(_label),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0, "maximum": 1}, {"type": "boolean"}]}),
]

NOT_BLANK = r"[^ \t\r\n\f\v]"
"""A pattern with the same meaning in every dialect of regular expressions."""


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


WHOLE = BeforeValidator(_whole)
"""Takes 5.0 for 5: to JSON Schema both are integers."""


class RequestModel(BaseModel):
    """Base of request schemas: strict types; unknown fields are ignored, as by the hosted API."""

    model_config = ConfigDict(
        strict=True, extra="ignore", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True
    )


class ResponseModel(BaseModel):
    """Base of answer schemas, which only document: answers are not validated."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class AcceptedFields(RequestModel):
    """Fields that every request body may have."""

    api_key: str | None = None
    """API key, read when neither the query nor the `Authorization` header has one."""


class ModelFields(AcceptedFields):
    """Fields of every request to a model."""

    model_id: str | None = DEFAULT_MODEL_ID
    """The model to use: one of `GET /models`, by its name or an alias."""


class Message(ResponseModel):
    """The body of every error but 422."""

    message: str
    """The error, and what to do about it."""


class UnauthorizedMessage(Message):
    """The request has no API key, or a wrong one."""

    status: int = 401
    """The status again, as the hosted API sends it."""


class ValidationError(ResponseModel):
    """One error in a request. The request's own content is never repeated."""

    loc: list[str | int] = Field(title="Location")
    """The place in the request."""
    msg: str = Field(title="Message")
    """The error at this place."""
    type: str = Field(title="Error Type")
    """The kind of error, for programs."""


class HTTPValidationError(ResponseModel):
    """The request does not have the documented form."""

    detail: list[ValidationError] = Field(default_factory=list)
    """All errors."""


def tag_by_key(key: str, with_key: str, without_key: str) -> Any:
    """A discriminator function: decides by one key which of two forms an object has."""

    def choose(value: Any) -> str:
        present = key in value if isinstance(value, Mapping) else hasattr(value, key)
        return with_key if present else without_key

    return choose
