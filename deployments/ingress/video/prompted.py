"""Prompts without a picture: the frame that they are about, and whether the session can do with them."""

import asyncio
from contextlib import aclosing
from dataclasses import replace

from deployments.ingress.video.chunks import of_picture
from deployments.ingress.video.dispatch import FrameDispatcher
from deployments.ingress.video.reading import VideoReading
from deployments.store.sessions import SessionStore
from deployments.video.frames import Frame, Picture, Squared
from deployments.video.protocol import (
    MOST_CONCEPTS,
    BadPrompt,
    FramePrompts,
    OutOfOrder,
    SessionCall,
    SessionConflict,
    UnknownSession,
)
from deployments.video.record import Record


class PromptedFrames:
    """Frames from the store: the picture of the last one, or one of the session's video file."""

    def __init__(self, store: SessionStore, dispatcher: FrameDispatcher, reading: VideoReading) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._reading = reading

    async def frame(
        self, call: SessionCall, record: Record, number: int | None, prompts: FramePrompts
    ) -> Frame:
        """The frame that prompts are about. number: None means the last one. Raises OutOfOrder, UnknownSession."""
        number = max(record.frame, 0) if number is None else number
        of_file = record.video is not None
        if number != record.frame or record.frame < 0:
            begins_here = of_file and (record.frame < 0 or number == record.next_frame)
            if not begins_here:
                raise OutOfOrder(_about_last(record, number), record.next_frame)
            return await self._read(call, record, number, prompts)
        content = await self._store.picture(call.tenant, call.session_id)
        if content is None and of_file:
            return await self._read(call, record, number, prompts)
        if content is None:
            raise OutOfOrder(
                f"the picture of frame {number} is not kept any more: send the prompts with the next frame",
                record.next_frame,
            )
        if not of_file:
            return Picture(number, content, prompts)
        assert record.size is not None
        square = await asyncio.to_thread(of_picture, content)
        return Squared(number, square, record.size, prompts, record.seconds)

    async def _read(self, call: SessionCall, record: Record, number: int, prompts: FramePrompts) -> Squared:
        """A frame of the session's file. Raises OutOfOrder where it has no such frame."""
        content = await self._store.file(call.tenant, call.session_id)
        if content is None:
            raise UnknownSession(call.session_id)
        need = await self._dispatcher.need()
        async with aclosing(self._reading.frames(content, number, need.image_size)) as frames:
            async for frame in frames:
                return replace(frame, prompts=prompts)
        raise OutOfOrder(f"the video has no frame {number}", record.next_frame)


def check_prompts(record: Record, prompts: FramePrompts) -> None:
    """Raises BadPrompt and SessionConflict."""
    known = {one.id for one in record.objects}
    named = [one.object_id for one in prompts.objects if one.object_id is not None]
    for number in named:
        if number not in known:
            raise SessionConflict(f"the session has no object {number}: it has {sorted(known) or 'none'}")
    if len(set(named)) < len(named):
        raise BadPrompt("an object has several prompts: send all of its clicks in one")
    new = sum(one.object_id is None for one in prompts.objects)
    removed = sum(one.object_id is not None and one.prompt is None for one in prompts.objects)
    if new and len(known) + new - removed > record.rules.most:
        raise SessionConflict(f"the session follows {len(known)} objects, and may follow {record.rules.most}")
    if len(record.rules.concepts) + len(prompts.concepts) > MOST_CONCEPTS:
        raise SessionConflict(f"a session looks for {MOST_CONCEPTS} texts at most")


def _about_last(record: Record, frame: int) -> str:
    if record.frame < 0:
        return "the session has no frame yet: send prompts with its first one"
    return f"prompts are for the frame that was answered last, {record.frame}, not for {frame}"
