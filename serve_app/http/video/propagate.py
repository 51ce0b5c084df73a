"""The answers of a video file's frames, as a stream: `POST /sam3/video/sessions/{session_id}/propagate`."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from deployments.fairness.flows import Share
from deployments.protocol import Overloaded, Timings
from deployments.video.protocol import Damage, SessionCall, SessionInfo
from serve_app.http.around.exchange import Exchange, exchange_of
from serve_app.http.context import HttpContext, context_of
from serve_app.http.errors import InvalidRequest, answer_error, name_of
from serve_app.http.sam3.masks import mask_format
from serve_app.http.video.call import caller_of, limits_of, service_of, session_in
from serve_app.http.video.documented import documented
from serve_app.http.video.schemas import FORMATS, MOST_FRAMES, VideoFrame
from serve_app.http.video.stream import EVENTS, LINES, StreamForm, numbered_parts

router = APIRouter(tags=["Video"])

LONGEST_PAUSE_S = 5.0
"""The longest pause before another try to get a place."""

Number = Annotated[int, Field(ge=0, le=MOST_FRAMES)]


class PropagateQuery(BaseModel):
    """The parameters of the query."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    first: Annotated[Number | None, Field(alias="from")] = None
    last: Annotated[Number | None, Field(alias="to")] = None
    format: str = "rle"


def _parameter(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": description}


_FRAME = {"type": "integer", "minimum": 0, "maximum": MOST_FRAMES}
PARAMETERS = [
    _parameter(
        "from",
        _FRAME,
        "Number of the first frame. An interrupted stream goes on by the number after the last one that came: answers "
        "of the last frames are kept. Without it: the frame that the session expects.",
    ),
    _parameter("to", _FRAME, "Number of the last frame. Without it: the video's last one."),
    _parameter("format", {"type": "string", "default": "rle"}, "One of `rle`, `polygon`, `polygon_holes`."),
]
TEXT = {"schema": {"type": "string"}}
DOCUMENTED = documented(
    "Follow through the video's file",
    VideoFrame,
    in_order=True,
    parameters=PARAMETERS,
    content={LINES: TEXT, EVENTS: TEXT},
)
BODIES: tuple[type[BaseModel], ...] = ()


@router.post("/sam3/video/sessions/{session_id}/propagate", **DOCUMENTED)
async def propagate(request: Request) -> Response:
    """Follow the session's objects through its video file, frame by frame, to the end.

    The answer is a stream: a frame a line (NDJSON), or server-sent events where `Accept` asks for them. Its last line
    is `{"done": {"next_frame": ...}}`, with `warnings` where the file is cut or damaged, or
    `{"error": {"status": ..., "message": ..., "next_frame": ...}}`. A client that goes away stops the work; another
    request goes on from there.
    """
    service = service_of(request)
    tenant = caller_of(request)
    context, exchange = context_of(request), exchange_of(request)
    session_id = session_in(request)
    query = _query(request)
    form = StreamForm(EVENTS if EVENTS in request.headers.get("accept", "") else LINES)
    work = Work(context, exchange, context.keys.share(tenant))
    name, limits = mask_format(FORMATS, query.format), limits_of(context.settings, context.keys)
    call = SessionCall(tenant, session_id, name, limits)
    frames = service.propagate(call, query.first, query.last, work.place)
    stream = streamed(frames, form, work, partial(service.session, tenant, session_id))
    return await streaming(stream, form.media_type)


@dataclass(slots=True)
class Work:
    """The places that one stream takes, one after the other. So others get their turn between its frames."""

    context: HttpContext
    exchange: Exchange
    share: Share

    @asynccontextmanager
    async def place(self) -> AsyncIterator[Timings]:
        """Wait for a place, for as long as a request may take. Raises Overloaded."""
        seconds = self.context.settings.request_timeout_s
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        own = Exchange(Timings(self.exchange.timings.request_id), self.exchange.model_id)
        self.exchange.give(2 * seconds)
        while True:
            try:
                await self.context.admission.enter(self.share, own)
                break
            except Overloaded as error:
                if loop.time() >= end:
                    raise
                await asyncio.sleep(min(error.retry_after_s, LONGEST_PAUSE_S))
        own.timings.deadline = time.time() + seconds
        try:
            yield own.timings
        finally:
            self.context.admission.leave(own)
            self.exchange.timings.add(own.timings.stages)


async def streamed(
    frames: AsyncGenerator[bytes | Damage],
    form: StreamForm,
    work: Work,
    session: Callable[[], Awaitable[SessionInfo]],
) -> AsyncGenerator[bytes]:
    """The stream's parts. An error before the first one is raised; a later one ends the stream, and is told in it."""
    next_frame: int | None = None
    damage: list[str] = []
    async with aclosing(numbered_parts(_without_damage(frames, damage), form)) as parts:
        try:
            async for number, part in parts:
                next_frame = next_frame if number is None else number + 1
                work.exchange.give(2 * work.context.settings.request_timeout_s)
                yield part
        except Exception as error:
            answer = answer_error(error)
            if next_frame is None or answer is None:
                raise
            work.exchange.error = name_of(error)
            refusal = orjson.loads(answer.body)
            body = {
                "status": answer.status_code,
                "message": refusal.get("message", ""),
                "next_frame": next_frame,
            }
            yield form.last("error", body)
        else:
            if next_frame is None:  # the session has come to the end before
                next_frame = (await session()).next_frame
            told = {"warnings": damage} if damage else {}
            yield form.last("done", {"next_frame": next_frame, **told})


async def _without_damage(frames: AsyncGenerator[bytes | Damage], damage: list[str]) -> AsyncGenerator[bytes]:
    """The frames' answers alone; what is wrong with the file goes to `damage`."""
    async with aclosing(frames):
        async for one in frames:
            if isinstance(one, Damage):
                damage.append(f"frames may be missing: {one.reason}")
            else:
                yield one


async def streaming(stream: AsyncGenerator[bytes], media_type: str, before: bytes = b"") -> StreamingResponse:
    """The answer that is a stream, with a part before it. Raises the errors of the stream's first part, which so have a
    status."""
    try:
        first = await anext(stream)
    except BaseException:
        await stream.aclose()
        raise

    async def parts() -> AsyncGenerator[bytes]:
        async with aclosing(stream):
            yield before + first
            async for part in stream:
                yield part

    return StreamingResponse(parts(), media_type=media_type, headers={"Cache-Control": "no-store"})


def _query(request: Request) -> PropagateQuery:
    try:
        return PropagateQuery.model_validate(dict(request.query_params))
    except ValidationError as error:
        raise InvalidRequest.of(error, inside="query") from None
