"""The images that the server keeps: list them, delete one. For people who must delete what they uploaded."""

from fastapi import APIRouter, Request, Response

from deployments.protocol import UnknownImage
from serve_app.http.around.exchange import exchange_of
from serve_app.http.errors import NotKept
from serve_app.http.sam3.call import HttpContext, tenant_of
from serve_app.http.sam3.documentation import DELETE_IMAGE, IMAGES
from serve_app.http.sam3.responses import answer_json, kept_image

router = APIRouter(tags=["Images"])


@router.get("/sam3/images", **IMAGES)
async def images(request: Request) -> Response:
    """List the images that the server keeps of the caller's tenant, newest first.

    An image that was sent under several ids appears once for each.
    """
    context: HttpContext = request.app.state.context
    tenant = tenant_of(request)
    found = await context.segmenter().images(tenant)
    body = {"images": [kept_image(image) for image in found], "time": exchange_of(request).seconds}
    return answer_json([body], listed=False)


@router.delete("/sam3/images/{image_id:path}", **DELETE_IMAGE)
async def delete_image(request: Request) -> Response:
    """Delete an image: its file, its embedding and all that was derived from them, under all of its ids.

    When this answers 200 it is gone from every process. What is being computed for the image is still
    answered, and not kept.
    """
    context: HttpContext = request.app.state.context
    image_id: str = request.path_params["image_id"]
    tenant = tenant_of(request)
    exchange_of(request).image_ids = [image_id]
    try:
        await context.segmenter().delete(tenant, image_id)
    except UnknownImage:
        raise NotKept(image_id) from None
    return answer_json([{"image_id": image_id, "time": exchange_of(request).seconds}], listed=False)
