"""The remote server's routes of videos: a session with all frames, a prompt about one of them, and propagation."""

from typing import Any

import orjson
from fastapi import Request, Response

from deployments.video.protocol import SessionConflict
from serve_app.http.around.exchange import exchange_of
from serve_app.http.caller import tenant_of
from serve_app.http.context import context_of
from serve_app.http.errors import InvalidRequest, UnknownModel
from serve_app.http.sam3.examples import CIRCLE_PNG
from serve_app.http.tools.asking import Asking, read_asking
from serve_app.http.tools.documented import documented
from serve_app.http.tools.route import tool_router
from serve_app.http.tools.x_anylabeling.models import VIDEO
from serve_app.http.tools.x_anylabeling.schemas import XAnyLabelingError
from serve_app.http.tools.x_anylabeling.video_schemas import (
    XAnyLabelingVideoDone,
    XAnyLabelingVideoInit,
    XAnyLabelingVideoInited,
    XAnyLabelingVideoPrompt,
    XAnyLabelingVideoPrompted,
    XAnyLabelingVideoPropagate,
    XAnyLabelingVideoStarted,
    XAnyLabelingVideoStatus,
)
from serve_app.http.tools.x_anylabeling.video_session import (
    Video,
    find_video,
    open_video,
    prompt_video,
    service_for,
)
from serve_app.http.tools.x_anylabeling.video_stream import (
    Events,
    Span,
    Tasks,
    cancel,
    propagation,
    tasks_of,
)
from serve_app.http.video.propagate import streaming
from serve_app.http.video.stream import EVENTS

_IMAGE = f"data:image/png;base64,{CIRCLE_PNG}"
_SESSION = {"session_id": "1f0c9a3e5b7d4c2f8e6a0b1d3c5e7f90", "model": VIDEO}
INIT_EXAMPLES: dict[str, Any] = {
    "frames": {"summary": "Two frames", "value": {"model": VIDEO, "frames": [_IMAGE, _IMAGE]}}
}
PROMPT_EXAMPLES: dict[str, Any] = {
    "text": {"summary": "Everything that a phrase names", "value": {**_SESSION, "text_prompt": "red circle"}},
    "click": {
        "summary": "The object under a click",
        "value": {**_SESSION, "points": [[0.46, 0.5]], "point_labels": [1], "obj_id": 10000},
    },
}
PROPAGATE_EXAMPLES: dict[str, Any] = {"all": {"summary": "To the end", "value": _SESSION}}

router = tool_router("X-AnyLabeling")


@router.post(
    "/v1/video/init",
    **documented(
        "X-AnyLabeling: a video's frames",
        XAnyLabelingVideoInited,
        XAnyLabelingError,
        XAnyLabelingVideoInit,
        INIT_EXAMPLES,
    ),
)
async def init(request: Request) -> Response:
    """Begin a session with all frames of a video. It ends when nobody asks for it for long, or by `.../cleanup`."""
    asking = await read_asking(request)
    fields = asking.fields(XAnyLabelingVideoInit)
    _check_model(asking, fields.model)
    handle, note = await open_video(asking, fields)
    return _answer({"session_id": handle, "num_frames": note.count, "start_frame_index": note.start})


@router.post(
    "/v1/video/prompt",
    **documented(
        "X-AnyLabeling: what to follow in a video",
        XAnyLabelingVideoPrompted,
        XAnyLabelingError,
        XAnyLabelingVideoPrompt,
        PROMPT_EXAMPLES,
    ),
)
async def prompt(request: Request) -> Response:
    """Show what to follow in one frame: phrases, or the clicks on one object. The session begins anew there. Clicks on
    several objects of one frame go together; a phrase, or another frame, takes the place of everything before."""
    asking = await read_asking(request)
    fields = asking.fields(XAnyLabelingVideoPrompt)
    _check_model(asking, fields.model)
    masks = await prompt_video(asking, fields)
    data = {"frame_index": fields.frame_index, "masks": masks, "num_objects": len(masks)}
    return _answer(data)


@router.post(
    "/v1/video/propagate/stream",
    **documented(
        "X-AnyLabeling: follow through a video",
        None,
        XAnyLabelingError,
        XAnyLabelingVideoPropagate,
        PROPAGATE_EXAMPLES,
        content={EVENTS: {"schema": {"type": "string"}}},
    ),
)
async def propagate_stream(request: Request) -> Response:
    """Follow from the prompted frame on, forwards.

    The answer is a stream of server-sent events, each `data: {"type": ...}`: `started`, `progress` for each frame, and
    `completed` with the shapes of all frames, or `error`. A client that goes away stops the work.
    """
    asking, video, span = await _asked(request)
    events, stream = propagation(asking, video, span)
    return await streaming(stream, events.media_type, events.started())


@router.post(
    "/v1/video/propagate",
    **documented(
        "X-AnyLabeling: follow through a video, as a task",
        XAnyLabelingVideoStarted,
        XAnyLabelingError,
        XAnyLabelingVideoPropagate,
        PROPAGATE_EXAMPLES,
    ),
)
async def propagate(request: Request) -> Response:
    """The same as a task, which goes on without a client. `.../status` tells how far it is, and has the shapes in the
    end. Only the ingress replica that began a task knows it."""
    asking, video, span = await _asked(request)
    name = await _tasks(request).begin(asking, video, span)
    return _answer({"task_id": name, "status": "processing", "message": "Propagation started"})


@router.get(
    "/v1/video/status/{task_id}",
    **documented("X-AnyLabeling: how far a task is", XAnyLabelingVideoStatus, XAnyLabelingError),
)
async def status(request: Request, task_id: str) -> Response:
    """How far a task is, and its shapes once it is completed."""
    tenant = tenant_of(request, context_of(request).keys)
    return _answer(_progress(_tasks(request).find(tenant, task_id).events))


@router.post(
    "/v1/video/cancel/{task_id}",
    **documented("X-AnyLabeling: cancel a task", XAnyLabelingVideoDone, XAnyLabelingError),
)
async def cancel_task(request: Request, task_id: str) -> Response:
    """Cancel a task. One that has ended stays as it is."""
    tenant = tenant_of(request, context_of(request).keys)
    await cancel(_tasks(request).find(tenant, task_id))
    return _answer({"message": "Task cancelled"})


@router.post(
    "/v1/video/cleanup/{session_id}",
    **documented("X-AnyLabeling: end a video's session", XAnyLabelingVideoDone, XAnyLabelingError),
)
async def cleanup(request: Request, session_id: str) -> Response:
    """End a session with its tasks, and delete all that is kept of it."""
    context = context_of(request)
    asking = Asking(context, exchange_of(request), tenant_of(request, context.keys), {})
    video = await find_video(asking, session_id)
    await _tasks(request).end(asking.tenant, session_id)
    await video.service.end(asking.tenant, video.call.session_id)
    return _answer({"message": f"Session {session_id} cleaned up"})


async def _asked(request: Request) -> tuple[Asking, Video, Span]:
    """A wish to propagate. Raises the errors of the table about videos."""
    asking = await read_asking(request)
    fields = asking.fields(XAnyLabelingVideoPropagate)
    _check_model(asking, fields.model)
    video = await find_video(asking, fields.session_id)
    note = video.note
    if note.frame is None:
        raise SessionConflict("nothing is followed yet: prompt the session first")
    first = 0 if fields.start_frame is None else note.relative(fields.start_frame, "start_frame")
    last = note.count - 1 if fields.end_frame is None else note.relative(fields.end_frame, "end_frame")
    if last < max(first, note.frame):
        raise InvalidRequest.one("it lies before the first frame, or before the prompted one", "end_frame")
    return asking, video, Span(note.frame, first, last)


def _check_model(asking: Asking, model: str) -> None:
    service_for(asking)
    if model != VIDEO:
        raise UnknownModel(f"there is no such model for videos: it is {VIDEO}")


def _tasks(request: Request) -> Tasks:
    return tasks_of(request, context_of(request).settings.video_idle_s)


def _progress(events: Events) -> dict[str, Any]:
    found = events.found
    data: dict[str, Any] = {
        "status": found.status,
        "progress": 1.0 if found.status == "completed" else events.progress(),
        "current_frame": found.current,
        "total_frames": events.video.note.count,
    }
    if found.status == "completed":
        data["results"] = found.shapes
    if found.error is not None:
        data["error"] = found.error
    return data


def _answer(data: dict[str, Any]) -> Response:
    return Response(orjson.dumps({"success": True, "data": data}), media_type="application/json")
