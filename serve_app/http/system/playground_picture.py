"""`POST /playground/picture`: an image that browsers cannot show, such as TIFF, as one that they can.

The playground shows the answer and sends the file itself to the model. The image is opened as the model's input is:
upright, with deep pixels reduced to 8 bits by the same rule.
"""

import asyncio
from io import BytesIO

from fastapi import APIRouter, Request, Response

from sam3_engine.images import open_upright
from sam3_engine.types import ImageSize
from serve_app.http.errors import InvalidRequest
from serve_app.http.sam3.call import read_call
from serve_app.http.sam3.embed import FORMS

router = APIRouter()

LONGEST_SIDE = 4096
"""Pixels: enough for any screen, and a canvas that every browser holds."""
QUALITY = 92


@router.post("/playground/picture", include_in_schema=False)
async def picture(request: Request) -> Response:
    """The image of a body of `/sam3/embed_image` as JPEG, at most LONGEST_SIDE pixels long.

    `X-Image-Size` is the image's own `width`x`height`, in pixels. Raises the errors of the table about keys, bodies
    and images.
    """
    call = await read_call(request, FORMS)
    source = call.images[0].source
    if call.listed or source is None:
        raise InvalidRequest.one("send one image", "image")
    content = await source.content()
    jpeg, size = await asyncio.to_thread(as_jpeg, content, call.context.settings.max_image_pixels)
    headers = {"X-Image-Size": f"{size.width}x{size.height}", "Cache-Control": "no-store"}
    return Response(jpeg, media_type="image/jpeg", headers=headers)


def as_jpeg(content: bytes, max_pixels: int) -> tuple[bytes, ImageSize]:
    """A JPEG of an image file, and the image's own size. Raises UnreadableImage, ImageTooLarge."""
    image = open_upright(content, max_pixels=max_pixels)
    size = ImageSize(image.height, image.width)
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    file = BytesIO()
    image.save(file, "JPEG", quality=QUALITY)
    return file.getvalue(), size
