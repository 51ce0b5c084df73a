"""The fields of an image in a JSON body."""

from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag, model_validator

from serve_app.http.schemas import MAX_LIST, RequestModel


class InferenceRequestImage(RequestModel):
    """An image of a request: base64 text, or a URL to fetch."""

    type: str
    """`base64` or `url`. `numpy`, `numpy_object` and `file` are refused."""
    value: Annotated[Any, Field(json_schema_extra={"type": "string"})] = None
    """The image file in base64 (a `data:` prefix is stripped), or its https URL."""

    @model_validator(mode="after")
    def _text(self) -> "InferenceRequestImage":
        # Other types are refused by name, whatever their value. A missing value is an empty image.
        if self.type in ("base64", "url") and not isinstance(self.value, str | None):
            raise ValueError("value must be a string")
        return self


def _one_or_many(value: Any) -> str:
    return "<list>" if isinstance(value, list) else "<one>"


ImageOrImages = Annotated[
    Annotated[InferenceRequestImage, Tag("<one>")]
    | Annotated[
        list[InferenceRequestImage], Field(fail_fast=True, min_length=1, max_length=MAX_LIST), Tag("<list>")
    ],
    Discriminator(_one_or_many),
]
"""One image, or a list of images that is answered by a list in the same order."""
