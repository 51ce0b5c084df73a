"""Propagation through a video of X-AnyLabeling: its events, and the tasks that do it without a client who listens."""

import asyncio
import logging
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import orjson
from fastapi import Request

from deployments.protocol import Timings
from deployments.video.protocol import Damage
from serve_app.http.around.exchange import Exchange
from serve_app.http.errors import INTERNAL_ERROR, NoSuchTask, TooLarge, answer_error
from serve_app.http.tools.asking import Asking
from serve_app.http.tools.x_anylabeling.schemas import XAnyLabelingParams
from serve_app.http.tools.x_anylabeling.shapes import shapes_of_frame
from serve_app.http.tools.x_anylabeling.video_session import Video
from serve_app.http.video.propagate import Work, streamed
from serve_app.http.video.stream import EVENTS, StreamForm

logger = logging.getLogger(__name__)

MOST_RESULT_BYTES = 32 * 2**20
"""Shapes of one propagation, and of all tasks that a tenant may come back for. They are answered in one piece."""


@dataclass(frozen=True, slots=True)
class Span:
    """The frames of a propagation, counted from 0. prompted: its first one. first: the first one whose shapes are
    wanted. last: the last one."""

    prompted: int
    first: int
    last: int


@dataclass(slots=True)
class Findings:
    """What a propagation has found so far. shapes: JSON by the frame's number."""

    status: Literal["processing", "completed", "failed", "cancelled"] = "processing"
    done: int = 0
    current: int = 0
    nbytes: int = 0
    shapes: dict[str, orjson.Fragment] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Events(StreamForm):
    """The events as the program reads them. The last one holds all shapes."""

    video: Video
    span: Span
    found: Findings

    @property
    def total(self) -> int:
        """Frames of the propagation."""
        return max(1, self.span.last - self.span.prompted + 1)

    def started(self) -> bytes:
        """The first event."""
        note = self.video.note
        return _event({"type": "started", "total_frames": note.count, "start_frame_index": note.start})

    def frame(self, answer: bytes) -> bytes:
        """See StreamForm. answer: `frame` from 0, and `masks`. Raises TooLarge."""
        found, note = self.found, self.video.note
        number = orjson.loads(answer)["frame"]
        found.done, found.current = found.done + 1, number + note.start
        if number >= self.span.first:
            found.shapes[str(found.current)] = orjson.Fragment(answer)
            found.nbytes += len(answer)
        if found.nbytes > MOST_RESULT_BYTES:
            raise TooLarge("the shapes of these frames are too many for one answer: propagate fewer frames")
        return _event(
            {
                "type": "progress",
                "current_frame": found.current,
                "total_frames": note.count,
                "progress": self.progress(),
            }
        )

    def last(self, event: str, body: dict[str, Any]) -> bytes:
        """See StreamForm."""
        if event == "error":
            self.found.status, self.found.error = "failed", body["message"]
            return _event({"type": "error", "message": body["message"]})
        self.found.status = "completed"
        return _event({"type": "completed", "results": self.found.shapes})

    def progress(self) -> float:
        """From 0 to 1."""
        return min(1.0, self.found.done / self.total)


def propagation(asking: Asking, video: Video, span: Span) -> tuple[Events, AsyncGenerator[bytes]]:
    """A propagation, and the parts of its stream. An error before the first part is raised by it."""
    events = Events(EVENTS, video, span, Findings())
    work = Work(asking.context, asking.exchange, asking.context.keys.share(asking.tenant))
    session = partial(video.service.session, video.call.tenant, video.call.session_id)
    return events, streamed(_frames(video, span, work), events, work, session)


async def _frames(video: Video, span: Span, work: Work) -> AsyncGenerator[bytes | Damage]:
    async with work.place() as timings:
        answer, first_id = await video.begin(timings)
    shaped = partial(_shaped, first_id=first_id, params=video.note.params)
    yield await asyncio.to_thread(shaped, answer)
    after = video.service.propagate(video.call, span.prompted + 1, span.last, work.place)
    async with aclosing(after) as answers:
        async for one in answers:
            yield one if isinstance(one, Damage) else await asyncio.to_thread(shaped, one)


def _shaped(answer: bytes, first_id: int, params: XAnyLabelingParams) -> bytes:
    """A frame's number from 0 and its shapes, as JSON."""
    frame = orjson.loads(answer)
    return orjson.dumps({"frame": frame["frame"], "masks": shapes_of_frame(frame, first_id, params)})


def _event(body: dict[str, Any]) -> bytes:
    return b"data: %s\n\n" % orjson.dumps(body)


@dataclass(slots=True, eq=False)
class Task:
    """A propagation that nobody listens to."""

    tenant: str
    events: Events
    job: "asyncio.Task[None]"
    asked: float
    """When its client asked for it last, by the loop's clock."""


class Tasks:
    """The tasks of one app. A session has one: a newer one ends it. A task that nobody asks for ends."""

    def __init__(self, idle_s: float) -> None:
        self._idle_s = idle_s
        self._tasks: dict[str, Task] = {}

    async def begin(self, asking: Asking, video: Video, span: Span) -> str:
        """Begin a propagation, and its id."""
        await self.end(asking.tenant, video.handle)
        # The request ends before the work does, so the work has an exchange of its own.
        own = Exchange(Timings(asking.exchange.timings.request_id), asking.exchange.model_id)
        events, stream = propagation(Asking(asking.context, own, asking.tenant, {}), video, span)
        name = uuid.uuid4().hex
        job = asyncio.create_task(self._run(events.found, stream))
        self._tasks[name] = Task(asking.tenant, events, job, asyncio.get_running_loop().time())
        return name

    def find(self, tenant: str, name: str) -> Task:
        """A task. Raises NoSuchTask."""
        self._drop()
        task = self._tasks.get(name)
        if task is None or task.tenant != tenant:
            raise NoSuchTask
        task.asked = asyncio.get_running_loop().time()
        return task

    async def end(self, tenant: str, handle: str) -> None:
        """Cancel and forget the tasks of a session."""
        for name, task in list(self._tasks.items()):
            if (task.tenant, task.events.video.handle) == (tenant, handle):
                del self._tasks[name]
                await cancel(task)

    async def _run(self, found: Findings, stream: AsyncGenerator[bytes]) -> None:
        try:
            async with aclosing(stream) as parts:
                async for _ in parts:
                    self._drop()
        except asyncio.CancelledError:
            found.status = "cancelled"
            raise
        except Exception as error:
            answer = answer_error(error)
            if answer is None:
                logger.exception("a propagation of X-AnyLabeling failed")
            body = INTERNAL_ERROR if answer is None else orjson.loads(answer.body)
            found.status, found.error = "failed", body.get("message", str(error))

    def _drop(self) -> None:
        """Forget tasks that nobody asks for, and the oldest ones of tenants whose tasks hold too much."""
        idle = asyncio.get_running_loop().time() - self._idle_s
        held: dict[str, int] = {}
        for name, task in reversed(list(self._tasks.items())):
            held[task.tenant] = held.get(task.tenant, 0) + task.events.found.nbytes
            newest = held[task.tenant] == task.events.found.nbytes
            if task.asked < idle or (held[task.tenant] > MOST_RESULT_BYTES and not newest):
                del self._tasks[name]
                task.job.cancel()


async def cancel(task: Task) -> None:
    """End a task's work."""
    task.job.cancel()
    await asyncio.wait([task.job])


def tasks_of(request: Request, idle_s: float) -> Tasks:
    """The tasks of the request's app."""
    state = request.app.state
    if not hasattr(state, "x_anylabeling_tasks"):
        state.x_anylabeling_tasks = Tasks(idle_s)
    found: Tasks = state.x_anylabeling_tasks
    return found
