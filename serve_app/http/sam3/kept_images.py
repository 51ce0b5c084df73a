"""Routes to list the images that the server keeps, and to delete one, for users who must delete their uploads."""

from collections.abc import Sequence
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ValidationError

from deployments.protocol import KeptImage, UnknownImage
from serve_app.http.around.exchange import exchange_of
from serve_app.http.caller import tenant_of
from serve_app.http.context import context_of
from serve_app.http.errors import InvalidRequest, NotKept
from serve_app.http.sam3.masks import answer_json
from serve_app.http.sam3.route import ANSWER_HEADERS, ERRORS, PARAMETERS
from serve_app.http.schemas import IMAGE_ID, Message, ResponseModel

router = APIRouter(tags=["Images"])


class KeptImageInfo(ResponseModel):
    """An image that the server keeps, under one of its ids."""

    image_id: str
    """The image's id: a request that sends it needs no image."""
    width: int
    """Width of the upright image, in pixels."""
    height: int
    """Height of the upright image, in pixels."""
    bytes: int
    """Size of the original image file; 0 when the server no longer keeps it."""
    embedding_bytes: int
    """Size of the embedding in the object store; 0 when there is none."""
    tier: Literal["hot", "warm", "cold"]
    """Source of the next answer: a decoder's memory (hot), the object store (warm), or a new encode (cold)."""
    age: float
    """Seconds since the image was first sent."""


class KeptImages(ResponseModel):
    """The images of one tenant."""

    images: list[KeptImageInfo]
    """Newest first."""
    time: float
    """Seconds that the answer took."""


class DeletedImage(ResponseModel):
    """The deleted image."""

    image_id: str
    """The id in the request. The image is deleted under its other ids as well."""
    time: float
    """Seconds that the answer took."""


def _about_images(
    summary: str, answer: type[BaseModel], parameters: Sequence[dict[str, Any]] = ()
) -> dict[str, Any]:
    """Keyword arguments for a route without a body."""
    errors = {status: ERRORS[status] for status in (401, 429, 500, 503, 504)}
    if parameters:
        errors[422] = ERRORS[422]
        errors[404] = {"model": Message, "description": "There is no such image."}
    return {
        "summary": summary,
        "response_model": None,
        "responses": {200: {"model": answer, "headers": ANSWER_HEADERS}, **errors},
        "openapi_extra": {"parameters": [*parameters, *PARAMETERS]},
    }


IN_PATH: dict[str, Any] = {
    "name": "image_id",
    "in": "path",
    "required": True,
    "schema": IMAGE_ID.json_schema(),
    "description": "The image's id, from the client's request or its answer.",
}
IMAGES = _about_images("The images that the server keeps", KeptImages)
DELETE_IMAGE = _about_images("Delete an image", DeletedImage, [IN_PATH])


@router.get("/sam3/images", **IMAGES)
async def images(request: Request) -> Response:
    """List the images that the server keeps for the caller's tenant, newest first.

    An image with several ids appears once for each id.
    """
    context = context_of(request)
    tenant = tenant_of(request, context.keys)
    found = await context.segmenter().images(tenant)
    body = {"images": [kept_image(image) for image in found], "time": exchange_of(request).seconds}
    return answer_json([body], listed=False)


@router.delete("/sam3/images/{image_id:path}", **DELETE_IMAGE)
async def delete_image(request: Request) -> Response:
    """Delete an image: its file, its embedding and all data derived from them, under all of its ids.

    After the answer 200, no process holds the image. Requests under way for it are still answered; their
    results are not kept.
    """
    context = context_of(request)
    tenant = tenant_of(request, context.keys)
    image_id = _id_in_path(request)
    exchange_of(request).image_ids = [image_id]
    try:
        await context.segmenter().delete(tenant, image_id)
    except UnknownImage:
        raise NotKept(image_id) from None
    return answer_json([{"image_id": image_id, "time": exchange_of(request).seconds}], listed=False)


def _id_in_path(request: Request) -> str:
    try:
        return IMAGE_ID.validate_python(request.path_params["image_id"])
    except ValidationError as error:
        raise InvalidRequest.of(error, "image_id", inside="path") from None


def kept_image(image: KeptImage) -> dict[str, Any]:
    """One entry of the answer of `GET /sam3/images`."""
    return {
        "image_id": image.image_id,
        "width": image.size.width,
        "height": image.size.height,
        "bytes": image.source_bytes,
        "embedding_bytes": image.embedding_bytes,
        "tier": image.tier,
        "age": image.age_s,
    }
