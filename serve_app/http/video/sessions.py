"""Sessions of videos: `POST`, `GET` and `DELETE /sam3/video/sessions`."""

from typing import Any

from fastapi import APIRouter, Request, Response

from deployments.video.protocol import SessionInfo, SessionRules
from serve_app.http.around.exchange import exchange_of
from serve_app.http.sam3.examples import VIDEO
from serve_app.http.sam3.masks import answer_json
from serve_app.http.video.call import caller_of, read_fields, service_of, session_in
from serve_app.http.video.documented import documented, json_or_file
from serve_app.http.video.files import file_of
from serve_app.http.video.session_schemas import (
    DeletedVideoSession,
    VideoSession,
    VideoSessionFields,
    VideoSessionRequest,
    VideoSessions,
    session_body,
)

router = APIRouter(tags=["Video"])


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
    file = await file_of(call, fields, parts)
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


def _session(request: Request, info: SessionInfo) -> Response:
    idle_s = request.app.state.context.settings.video_idle_s
    body = {**session_body(info), "idle_seconds": idle_s, "time": exchange_of(request).seconds}
    return answer_json([body], listed=False)
