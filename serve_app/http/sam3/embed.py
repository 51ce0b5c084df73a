"""Encoding an image ahead of its prompts: `POST /sam3/embed_image`."""

from typing import Any

from fastapi import APIRouter, Request, Response

from deployments.protocol import Answer
from serve_app.http.reading.image_fields import ImageOrImages
from serve_app.http.sam3.call import Forms, read_call
from serve_app.http.sam3.examples import IMAGE
from serve_app.http.sam3.masks import ResponseOfImage, answer_json, of_image
from serve_app.http.sam3.route import documented
from serve_app.http.schemas import ImageId, ModelFields

router = APIRouter(tags=["SAM 3"])


class Sam3EmbedFields(ModelFields):
    """The fields of a request to encode an image, without the image."""

    image_id: ImageId | None = None
    """A name for the image, for later requests. Without one, the name is a digest of the image file."""


class Sam3EmbedImageRequest(Sam3EmbedFields):
    """Encode an image once, for any number of prompts later."""

    image: ImageOrImages
    """The image to encode."""


class Sam3EmbedImageResponse(ResponseOfImage):
    """The image is encoded and cached."""

    image_id: str
    """The image's name, for later requests."""


EXAMPLES: dict[str, Any] = {
    "named": {
        "summary": "Encode under a name of your own",
        "value": {"image": IMAGE, "image_id": "my-image"},
    },
    "unnamed": {"summary": "Encode; the answer holds the name", "value": {"image": IMAGE}},
}

FORMS = Forms(Sam3EmbedFields, Sam3EmbedImageRequest)
DOCUMENTED = documented("SAM3 image embedding", FORMS, EXAMPLES, Sam3EmbedImageResponse)


@router.post("/sam3/embed_image", **DOCUMENTED)
async def embed_image(request: Request) -> Response:
    """Encode an image once. Later requests that send its `image_id` encode nothing."""
    call = await read_call(request, FORMS)
    answers: list[Answer[None]] = await call.ask(None)
    seconds = call.exchange.seconds
    return answer_json([of_image(one, seconds) for one in answers], call.listed)
