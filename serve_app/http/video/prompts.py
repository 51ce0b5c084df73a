"""Prompts about a frame that was answered: `POST /sam3/video/sessions/{session_id}/prompts`."""

from typing import Any, Self

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import model_validator
from pydantic_core import PydanticCustomError

from deployments.video.protocol import SessionCall
from serve_app.http.sam3.masks import answer_json, mask_format
from serve_app.http.schemas import AcceptedFields
from serve_app.http.video.call import read_fields, session_in
from serve_app.http.video.documented import documented, json_body
from serve_app.http.video.schemas import (
    FORMATS,
    FrameNumber,
    ObjectPrompts,
    Texts,
    VideoFrame,
    VideoObject,
    frame_prompts,
)

router = APIRouter(tags=["Video"])


class VideoPromptsRequest(AcceptedFields):
    """Objects and concepts of the frame that was answered last."""

    prompts: ObjectPrompts | None = None
    """Objects to begin, to correct or to remove. For a correction, send all clicks of the frame."""
    texts: Texts | None = None
    """Further concepts, to be looked for in this frame and in later ones."""
    frame: FrameNumber | None = None
    """The frame's number. With it, prompts for any other frame than the last one are refused. Of a video file, the
    frame may also be the next one, and any frame while none was answered: the session then begins there."""
    format: str | None = "rle"
    """One of `rle`, `polygon`, `polygon_holes`."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not self.prompts and not self.texts:
            raise PydanticCustomError("video_prompt", "send prompts or texts")
        return self


class VideoPromptsAnswer(VideoFrame):
    """The frame, with the objects that the prompts have begun or changed."""

    objects: list[VideoObject]
    """The objects that the prompts have begun or changed, where they are seen. Others stay as they were answered."""
    hidden: list[int]
    """Ids of objects that the prompts have begun or changed, and that are not seen."""
    session_id: str
    """The session's id."""
    time: float
    """Seconds that the answer took."""


BODIES = (VideoPromptsRequest,)
EXAMPLES: dict[str, Any] = {
    "correction": {
        "summary": "Correct object 1 by two clicks",
        "value": {
            "prompts": [
                {"object_id": 1, "points": [{"x": 44, "y": 48}, {"x": 80, "y": 48, "positive": False}]}
            ],
        },
    },
    "removal": {
        "summary": "Follow object 2 no longer",
        "value": {"prompts": [{"object_id": 2, "remove": True}]},
    },
    "text": {"summary": "Look for another concept", "value": {"texts": [{"text": "blue square"}]}},
}
DOCUMENTED = documented(
    "Prompts about the last frame of a video",
    VideoPromptsAnswer,
    body=json_body(VideoPromptsRequest, EXAMPLES),
    in_order=True,
)


@router.post("/sam3/video/sessions/{session_id}/prompts", **DOCUMENTED)
async def prompts(request: Request) -> Response:
    """Begin, correct or remove objects in the frame that was answered last, without sending it again.

    The next frames go on from there.
    """
    call, _ = await read_fields(request, VideoPromptsRequest)
    fields, session_id = call.fields, session_in(request)
    name = mask_format(FORMATS, fields.format or "rle")
    asked = frame_prompts(fields.prompts, fields.texts)
    call.exchange.prompts = len(asked.objects) + len(asked.concepts)
    call.exchange.texts = [one.text for one in asked.concepts if one.text]
    await call.context.admission.enter(call.context.keys.share(call.tenant), call.exchange)
    about = SessionCall(call.tenant, session_id, name, call.limits)
    answer = await call.service.prompt(about, asked, fields.frame, call.exchange.timings)
    body = {**orjson.loads(answer), "session_id": session_id, "time": call.exchange.seconds}
    return answer_json([body], listed=False)
