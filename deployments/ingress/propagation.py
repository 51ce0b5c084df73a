"""A video file's frames on their way to the model: while some are tracked, the next ones are read and encoded.

So encoders and decoders work at the same time, and never more than two chunks of frames are in this process: a client
that reads slowly, or a model that is busy, stops the reading.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from deployments.ingress.tracking import FrameDispatcher
from deployments.protocol import Timings
from deployments.video.frames import Squared
from deployments.video.messages import EncodedFrame

CHUNK = 4
"""Frames that are encoded and tracked at once."""
QUALITY = 95
"""Of the JPEG that is kept of a frame."""


@dataclass(slots=True)
class Chunk:
    """Frames that follow one another, and their encoding, which has begun."""

    frames: list[Squared]
    encoding: "asyncio.Task[list[EncodedFrame]] | None"

    def take(self) -> "asyncio.Task[list[EncodedFrame]] | None":
        """The encoding, once: another attempt needs another one."""
        encoding, self.encoding = self.encoding, None
        return encoding


async def chunks_of(
    dispatcher: FrameDispatcher, frames: AsyncIterator[Squared], last: int | None
) -> AsyncGenerator[Chunk]:
    """The frames in chunks, to the last one. Close it where it is not read to its end. Raises what `frames` raises."""
    following: asyncio.Task[Chunk | None] | None = None
    chunks: list[Chunk] = []
    try:
        following = asyncio.create_task(_chunk(dispatcher, frames, last))
        while (chunk := await following) is not None:
            chunks = [*chunks[-1:], chunk]
            following = asyncio.create_task(_chunk(dispatcher, frames, last))
            yield chunk
    finally:
        for task in (following, *(one.encoding for one in chunks)):
            await _leave(task)


def as_file(frame: Squared) -> bytes:
    """A frame as a small file, for prompts about it later."""
    pixels = cv2.cvtColor(frame.square, cv2.COLOR_RGB2BGR)
    _, content = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return content.tobytes()


def of_picture(content: bytes) -> npt.NDArray[np.uint8]:
    """The square of such a file."""
    pixels = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), cv2.IMREAD_COLOR)
    assert pixels is not None, "`as_file` made it"
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), dtype=np.uint8)


async def _chunk(
    dispatcher: FrameDispatcher, frames: AsyncIterator[Squared], last: int | None
) -> Chunk | None:
    read: list[Squared] = []
    while len(read) < CHUNK:
        frame = await anext(frames, None)
        if frame is None or (last is not None and frame.number > last):
            break
        read.append(frame)
        if frame.number == last:
            break
    if not read:
        return None
    return Chunk(read, asyncio.create_task(dispatcher.encode(read, Timings(""))))


async def _leave(task: "asyncio.Task[Chunk | None] | asyncio.Task[list[EncodedFrame]] | None") -> None:
    """End work whose result nobody needs any more."""
    if task is None:
        return
    task.cancel()
    with suppress(asyncio.CancelledError, Exception):
        made = await task
        if isinstance(made, Chunk):
            await _leave(made.encoding)
