"""The frames of a video: `POST /sam3/video/sessions/{session_id}/frames`."""

from typing import Any

import orjson
from fastapi import APIRouter, Request, Response

from deployments.protocol import ImageFile
from deployments.video.protocol import SessionCall
from serve_app.http.errors import InvalidRequest
from serve_app.http.reading.image_fields import ImageOrImages
from serve_app.http.sam3.call import Forms, read_call
from serve_app.http.sam3.examples import IMAGE
from serve_app.http.sam3.masks import answer_json, mask_format
from serve_app.http.sam3.route import body_of
from serve_app.http.schemas import ModelFields, ResponseModel
from serve_app.http.video.call import limits_of, service_of, session_in
from serve_app.http.video.documented import documented
from serve_app.http.video.schemas import (
    FORMATS,
    FrameNumber,
    ObjectPrompts,
    Texts,
    VideoFrame,
    frame_prompts,
)

router = APIRouter(tags=["Video"])


class VideoFramesFields(ModelFields):
    """The fields of a request with frames, without the images."""

    frame: FrameNumber | None = None
    """The number of the first image's frame, from 0. With it, a request may be repeated: frames that were answered are
    answered as before. Without it, the images are the session's next frames."""
    prompts: ObjectPrompts | None = None
    """Objects to begin, to correct or to remove in the first image."""
    texts: Texts | None = None
    """Further concepts, to be looked for from the first image on."""
    format: str | None = "rle"
    """One of `rle`, `polygon`, `polygon_holes`."""


class VideoFramesRequest(VideoFramesFields):
    """The next frames of a video, in their order."""

    image: ImageOrImages
    """One picture, or several ones of the frames that follow one another."""


class VideoFrames(ResponseModel):
    """The frames with their objects: all of them, or none."""

    session_id: str
    """The session's id."""
    frames: list[VideoFrame]
    """One for each image, in the order of the images."""
    next_frame: int
    """The number of the frame after these."""
    time: float
    """Seconds that the answer took."""


EXAMPLES: dict[str, Any] = {
    "next": {"summary": "The next frame", "value": {"image": IMAGE}},
    "click": {
        "summary": "The first frame, with a click on the object to follow",
        "value": {"image": IMAGE, "frame": 0, "prompts": [{"points": [{"x": 44, "y": 48}], "label": "ball"}]},
    },
    "several": {"summary": "Two frames", "value": {"image": [IMAGE, IMAGE], "frame": 0}},
}
FORMS = Forms(VideoFramesFields, VideoFramesRequest)
BODIES = tuple(FORMS.models)
DOCUMENTED = documented(
    "The next frames of a video", VideoFrames, body=body_of(FORMS, EXAMPLES), in_order=True
)


@router.post("/sam3/video/sessions/{session_id}/frames", **DOCUMENTED)
async def frames(request: Request) -> Response:
    """Follow the session's objects through its next frames, of which each is an image.

    Frames are answered in their order. A request of which one image fails answers none, and the session stays as it
    was.
    """
    service = service_of(request)
    call = await read_call(request, FORMS)
    if call.model.name != call.context.models.default_name:
        raise InvalidRequest.one("videos are followed by the default model: leave model_id out", "model_id")
    session_id = session_in(request)
    name = mask_format(FORMATS, call.fields.format or "rle")
    prompts = frame_prompts(call.fields.prompts, call.fields.texts)
    call.exchange.prompts = len(prompts.objects) + len(prompts.concepts)
    call.exchange.texts = [one.text for one in prompts.concepts if one.text]
    images: list[ImageFile] = [one.source for one in call.images if one.source is not None]
    limits = limits_of(call.context.settings, call.context.keys)
    about = SessionCall(call.images[0].tenant, session_id, name, limits)
    answers = await service.frames(about, images, call.fields.frame, prompts, call.exchange.timings)
    last = orjson.loads(answers[-1])["frame"]
    body = {
        "session_id": session_id,
        "frames": [orjson.Fragment(one) for one in answers],
        "next_frame": last + 1,
        "time": call.exchange.seconds,
    }
    return answer_json([body], listed=False)
