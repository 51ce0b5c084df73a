"""A video of X-AnyLabeling: a session with a file, and a note of what its client has shown in one frame.

Every prompt begins the session anew at its frame, and so does every propagation. So a session is always what the note
says, however often the program changes its mind, and whichever ingress answers.
"""

import asyncio
import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from pydantic import BaseModel, ConfigDict

from deployments.ingress.video.service import VideoSessions
from deployments.protocol import Timings
from deployments.video.protocol import (
    MOST_CONCEPTS,
    FramePrompts,
    ObjectPrompt,
    SessionCall,
    SessionConflict,
    SessionInfo,
    SessionRules,
    UnknownSession,
)
from sam3_engine import data_urls
from sam3_engine.types import ConceptPrompt, Point, VisualPrompt
from sam3_engine.video_files.pictures import BadFrame, film_of
from serve_app.http.errors import InList, InvalidRequest, NoVideo, TooLarge
from serve_app.http.tools.asking import Asking, threshold_of
from serve_app.http.tools.x_anylabeling.schemas import XAnyLabelingParams
from serve_app.http.tools.x_anylabeling.shapes import UNNAMED, phrases_in, shapes_of_frame
from serve_app.http.tools.x_anylabeling.video_schemas import XAnyLabelingVideoInit, XAnyLabelingVideoPrompt
from serve_app.http.video.call import limits_of
from serve_app.http.video.files import beyond

NAME = "x-anylabeling:"
RULES = SessionRules(every=1)
"""Phrases are looked for in every frame, as by the program's own server. Beside its encoding that costs little."""


class Clicks(BaseModel):
    """Clicks on one object: x, y as parts of the frame, and whether the object is there."""

    points: list[tuple[float, float, bool]]


class Note(BaseModel):
    """What the client has said of a video. start: number of the first frame; count: of frames. frame: the prompted one,
    from 0; None before the first prompt. objects: clicks by the client's number."""

    model_config = ConfigDict(frozen=True)

    start: int
    count: int
    frame: int | None = None
    phrases: list[str] = []
    threshold: float = 0.0
    objects: dict[int, Clicks] = {}
    params: XAnyLabelingParams = XAnyLabelingParams()

    @property
    def last(self) -> int:
        """Number of the last frame."""
        return self.start + self.count - 1

    def relative(self, number: int, field: str) -> int:
        """A frame's number from 0. Raises InvalidRequest for a frame that the video does not have."""
        if not self.start <= number <= self.last:
            raise InvalidRequest.one(f"the video has the frames {self.start} to {self.last}", field)
        return number - self.start

    def prompted(self, fields: XAnyLabelingVideoPrompt, threshold: float) -> "Note":
        """The note after a prompt. Raises InvalidRequest."""
        frame = self.relative(fields.frame_index, "frame_index")
        phrases = phrases_in(fields.text_prompt or "")
        if len(phrases) > MOST_CONCEPTS:
            raise InvalidRequest.one(f"it has more than {MOST_CONCEPTS} phrases", "text_prompt")
        if not phrases and not fields.points:
            raise InvalidRequest.one("a phrase or a click is needed", "text_prompt")
        objects: dict[int, Clicks] = {}
        if not phrases:
            pairs = zip(fields.points or (), fields.point_labels or (), strict=True)
            clicks = Clicks(points=[(x, y, label) for (x, y), label in pairs])
            earlier = self.objects if self.frame == frame else {}
            objects = {**earlier, fields.obj_id or 0: clicks}
        if len(objects) > RULES.most:
            raise InvalidRequest.one(f"a video has at most {RULES.most} objects", "obj_id")
        said = {"frame": frame, "phrases": phrases, "threshold": threshold, "objects": objects}
        return self.model_copy(update={**said, "params": fields.params})

    def prompts(self, info: SessionInfo) -> FramePrompts:
        """The prompts about the prompted frame."""
        assert info.video is not None
        height, width = info.video.size
        return FramePrompts(
            tuple(
                ObjectPrompt(
                    None,
                    VisualPrompt(tuple(Point(x * width, y * height, on) for x, y, on in one.points)),
                    UNNAMED,
                )
                for one in self.objects.values()
            ),
            tuple(ConceptPrompt(phrase, score_threshold=self.threshold) for phrase in self.phrases),
        )


@dataclass(frozen=True, slots=True)
class Video:
    """A session of the tenant's. handle: its id for the client."""

    service: VideoSessions
    call: SessionCall
    handle: str
    note: Note

    async def begin(self, timings: Timings) -> tuple[bytes, int]:
        """The session anew at the prompted frame: its answer, and the id of its first object. Raises SessionConflict
        where nothing was prompted yet, and as `VideoSessions.prompt`."""
        if self.note.frame is None:
            raise SessionConflict("nothing is followed yet: prompt the session first")
        first_id = await self.service.restart(self.call, RULES, timings)
        info = await self.service.session(self.call.tenant, self.call.session_id)
        prompts = self.note.prompts(info)
        return await self.service.prompt(self.call, prompts, self.note.frame, timings), first_id


async def open_video(asking: Asking, fields: XAnyLabelingVideoInit) -> tuple[str, Note]:
    """Begin a session with frames: the client's id of it. Raises the errors of the table about images and videos."""
    service = service_for(asking)
    settings, limits = asking.context.settings, limits_of(asking.context.settings, asking.context.keys)
    if len(fields.frames) > settings.video_max_frames:
        raise TooLarge(f"the video has {len(fields.frames)} frames, and may have {settings.video_max_frames}")
    await asking.enter([])
    film = await _film(fields.frames, settings.video_max_pixels, limits.nbytes)
    if film is None:
        raise beyond(limits)
    handle, note = uuid.uuid4().hex, Note(start=fields.start_frame_index, count=len(fields.frames))
    info = await service.open(asking.tenant, RULES, limits, film, NAME + handle)
    await service.note(asking.tenant, info.session_id, note.model_dump_json().encode())
    return handle, note


async def prompt_video(asking: Asking, fields: XAnyLabelingVideoPrompt) -> list[dict[str, Any]]:
    """The shapes of a frame after a prompt about it. Raises the errors of the table about videos."""
    before = await find_video(asking, fields.session_id)
    default = asking.context.models.default
    note = before.note.prompted(fields, threshold_of(default, fields.params.conf_threshold))
    asking.exchange.prompts = len(note.phrases) + len(note.objects)
    asking.exchange.texts = list(note.phrases)
    await asking.enter([])
    video = Video(before.service, before.call, before.handle, note)
    answer, first_id = await video.begin(asking.exchange.timings)
    await video.service.note(video.call.tenant, video.call.session_id, note.model_dump_json().encode())
    return await asyncio.to_thread(lambda: shapes_of_frame(orjson.loads(answer), first_id, note.params))


async def find_video(asking: Asking, handle: str) -> Video:
    """A session by the client's id. Raises UnknownSession, NoVideo."""
    service = service_for(asking)
    found = await service.named(asking.tenant, NAME + handle)
    if found is None or not found[1]:
        raise UnknownSession(handle)
    limits = limits_of(asking.context.settings, asking.context.keys)
    call = SessionCall(asking.tenant, found[0], "rle", limits)
    return Video(service, call, handle, Note.model_validate_json(found[1]))


def service_for(asking: Asking) -> VideoSessions:
    """The service of videos. Raises NoVideo."""
    if asking.context.video is None:
        raise NoVideo
    return asking.context.video


async def _film(frames: Sequence[str], most_pixels: int, most_bytes: int) -> bytes | None:
    """The video file of frames; None where it has more bytes. A request that ends stops the work."""
    ended = threading.Event()
    contents = (data_urls.decode_base64(frame) for frame in frames)
    try:
        return await asyncio.to_thread(
            film_of,
            contents,
            max_pixels=most_pixels,
            max_bytes=most_bytes,
            go_on=lambda: not ended.is_set(),
        )
    except BadFrame as error:
        raise InList(error.index, error.error) from None
    except OverflowError:
        return None
    finally:
        ended.set()
