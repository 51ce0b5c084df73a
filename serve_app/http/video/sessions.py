"""Sessions of videos: `POST`, `GET` and `DELETE /sam3/video/sessions`."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import Field

from deployments.video.protocol import EVERY, MOST_OBJECTS, SessionInfo, SessionRules, VideoFacts
from sam3_engine.data_urls import decode_base64, is_data_url
from sam3_engine.errors import UnreadableImage
from serve_app.http.around.exchange import exchange_of
from serve_app.http.errors import BadImage, InvalidRequest, TooLarge
from serve_app.http.reading.image_fields import InferenceRequestImage
from serve_app.http.sam3.examples import VIDEO
from serve_app.http.sam3.masks import answer_json
from serve_app.http.schemas import AcceptedFields, ResponseModel
from serve_app.http.video.call import VideoCall, caller_of, read_fields, service_of, session_in
from serve_app.http.video.documented import documented, json_or_file
from serve_app.http.video.schemas import MOST_FRAMES, Texts

router = APIRouter(tags=["Video"])


class VideoFile(InferenceRequestImage):
    """A video file: base64 text, or a URL to fetch."""

    type: str
    """`base64` or `url`."""
    value: Annotated[Any, Field(json_schema_extra={"type": "string"})] = None
    """The file in base64 (a `data:` prefix is stripped), or its https URL."""


class VideoSessionFields(AcceptedFields):
    """The rules of a session."""

    texts: Texts | None = None
    """Concepts to find and follow. Without any, objects come from prompts alone."""
    every: Annotated[int, Field(ge=0, le=MOST_FRAMES)] = EVERY
    """Frames from one search for the concepts to the next. 0: only the first frame is searched."""
    most_objects: Annotated[int, Field(ge=1, le=MOST_OBJECTS)] = MOST_OBJECTS
    """Objects that the session follows at a time."""


class VideoSessionRequest(VideoSessionFields):
    """Begin a session: one video, as a file, or as frames that are sent one after the other."""

    video: VideoFile | None = None
    """The video's file. Without one, frames follow by `.../frames`."""


class VideoSessionFile(ResponseModel):
    """What a session's video file says of itself."""

    width: int
    """Width of its upright frames, in pixels."""
    height: int
    """Height of its upright frames, in pixels."""
    frames: int | None
    """Number of frames; null where it does not say."""
    frames_per_second: float | None
    """Frames a second in the mean; null where it does not say."""
    seconds: float | None
    """Its length; null where it does not say."""


class VideoSessionText(ResponseModel):
    """One concept of a session."""

    text: str
    """The concept in words."""
    output_prob_thresh: float
    """Its score threshold."""


class VideoSessionObject(ResponseModel):
    """One object of a session."""

    id: int
    """Its number in the session."""
    label: str | None
    """The text that found it, or the name that its prompt gave it."""


class VideoSessionInfo(ResponseModel):
    """A session."""

    session_id: str
    """Its id, for all further requests."""
    texts: list[VideoSessionText]
    """The concepts that it looks for."""
    every: int
    """Frames from one search for them to the next; 0: only the first frame."""
    most_objects: int
    """Objects that it follows at a time."""
    next_frame: int
    """The number of the frame that it expects."""
    objects: list[VideoSessionObject]
    """The objects that it follows."""
    age: float
    """Seconds since it began."""
    video: VideoSessionFile | None
    """Its video file; null where frames come one by one."""


class VideoSession(VideoSessionInfo):
    """A session, in the answer to a request about it."""

    idle_seconds: float
    """Seconds without a request after which a session ends."""
    time: float
    """Seconds that the answer took."""


class VideoSessions(ResponseModel):
    """The sessions of one tenant."""

    sessions: list[VideoSessionInfo]
    """Newest first."""
    time: float
    """Seconds that the answer took."""


class DeletedVideoSession(ResponseModel):
    """The session that has ended."""

    session_id: str
    """Its id."""
    time: float
    """Seconds that the answer took."""


BODIES = (VideoSessionRequest, VideoSessionFields)
EXAMPLES: dict[str, Any] = {
    "texts": {
        "summary": "Follow every red circle; look for new ones in every fifth frame",
        "value": {"texts": [{"text": "red circle"}], "every": 5},
    },
    "clicks": {"summary": "Follow what prompts show", "value": {}},
    "file": {
        "summary": "Follow through a video file, which `.../propagate` then answers",
        "value": {"video": VIDEO, "texts": [{"text": "red circle"}]},
    },
}
BEGIN = documented(
    "Begin a video session",
    VideoSession,
    about_session=False,
    body=json_or_file(VideoSessionRequest, VideoSessionFields, EXAMPLES),
)
LIST = documented("The caller's video sessions", VideoSessions, about_session=False)
SHOW = documented("A video session", VideoSession)
END = documented("End a video session", DeletedVideoSession)


@router.post("/sam3/video/sessions", **BEGIN)
async def begin(request: Request) -> Response:
    """Begin a session. Its frames follow by `.../frames`; those of a video file are answered by `.../propagate`.

    A file may also be the part `video` of a form, beside the part `request`. A session ends when nobody asks for it for
    `idle_seconds`, or by `DELETE`.
    """
    call, parts = await read_fields(request, VideoSessionRequest, VideoSessionFields)
    fields = call.fields
    file = await _file(call, fields, parts)
    rules = SessionRules(
        tuple(one.to_prompt() for one in fields.texts or ()), fields.every, fields.most_objects
    )
    call.exchange.texts = [one.text for one in fields.texts or ()]
    info = await call.service.open(call.tenant, rules, call.limits, file)
    return _session(request, info)


@router.get("/sam3/video/sessions", **LIST)
async def listed(request: Request) -> Response:
    """List the caller's sessions, newest first."""
    tenant = caller_of(request)
    found = await service_of(request).sessions(tenant)
    body = {"sessions": [session_body(one) for one in found], "time": exchange_of(request).seconds}
    return answer_json([body], listed=False)


@router.get("/sam3/video/sessions/{session_id}", **SHOW)
async def show(request: Request) -> Response:
    """A session: its rules, its objects, and the frame that it expects."""
    tenant = caller_of(request)
    return _session(request, await service_of(request).session(tenant, session_in(request)))


@router.delete("/sam3/video/sessions/{session_id}", **END)
async def end(request: Request) -> Response:
    """End a session, and delete all that is kept of it."""
    tenant = caller_of(request)
    session_id = session_in(request)
    await service_of(request).end(tenant, session_id)
    return answer_json([{"session_id": session_id, "time": exchange_of(request).seconds}], listed=False)


def session_body(info: SessionInfo) -> dict[str, Any]:
    """The fields of `VideoSessionInfo`."""
    return {
        "session_id": info.session_id,
        "texts": [
            {"text": one.text, "output_prob_thresh": one.score_threshold} for one in info.rules.concepts
        ],
        "every": info.rules.every,
        "most_objects": info.rules.most,
        "next_frame": info.next_frame,
        "objects": [{"id": number, "label": label} for number, label in info.objects],
        "age": info.age_s,
        "video": info.video and _file_body(info.video),
    }


def _file_body(facts: VideoFacts) -> dict[str, Any]:
    return {
        "width": facts.size.width,
        "height": facts.size.height,
        "frames": facts.frames,
        "frames_per_second": facts.rate,
        "seconds": facts.seconds,
    }


async def _file(
    call: VideoCall[VideoSessionFields], fields: VideoSessionFields, parts: Sequence[bytes]
) -> bytes:
    """The video file that a request brings; empty where it brings none. Raises BadImage, InvalidRequest, TooLarge."""
    if len(parts) > 1:
        raise InvalidRequest.one("send one video", "video")
    content = parts[0] if parts else b""
    given = fields.video if isinstance(fields, VideoSessionRequest) else None
    if given is not None:
        content = await _given(call, given)
    if (parts or given) and not content:
        raise BadImage("the video is empty")
    if len(content) > call.limits.nbytes:
        raise TooLarge(
            f"the video is larger than {call.limits.nbytes} bytes, which all of your sessions may take"
        )
    return content


async def _given(call: VideoCall[VideoSessionFields], video: VideoFile) -> bytes:
    settings = call.context.settings
    match video.type, video.value:
        case "base64" | "url", None | "":
            return b""
        case "url", str(url) if is_data_url(url):
            return await asyncio.to_thread(_decoded, url)
        case "url", str(url):
            most = min(call.limits.nbytes, int(settings.max_body_bytes))
            return await call.context.fetcher.fetch_video(call.tenant, url, most, settings.body_timeout_s)
        case "base64", str(text):
            return await asyncio.to_thread(_decoded, text)
    raise BadImage(f"video type {video.type[:40]!r} is not known: use 'base64' or 'url'")


def _decoded(text: str) -> bytes:
    try:
        return decode_base64(text)
    except UnreadableImage as error:
        raise BadImage(str(error).replace("image", "video")) from None


def _session(request: Request, info: SessionInfo) -> Response:
    idle_s = request.app.state.context.settings.video_idle_s
    body = {**session_body(info), "idle_seconds": idle_s, "time": exchange_of(request).seconds}
    return answer_json([body], listed=False)
