"""A video file's frames in chunks: while one chunk is tracked, the next one is read.

So never more than two chunks of frames are in this process: a client that reads slowly, or a model that is busy, stops
the reading.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress

import cv2
import numpy as np
import numpy.typing as npt

from deployments.video.frames import Squared
from sam3_engine.errors import EngineError

CHUNK = 4
"""Frames that are encoded and tracked at once."""
QUALITY = 95
"""Of the JPEG that is kept of a frame."""


async def chunks_of(frames: AsyncIterator[Squared], last: int | None) -> AsyncGenerator[list[Squared]]:
    """The frames in chunks, to number `last`. Close it where it is not read to its end. Raises what `frames` raises,
    after the frames before it."""
    following = asyncio.create_task(_chunk(frames, last))
    try:
        while True:
            chunk, error = await following
            if not chunk:
                return
            if error is None:
                following = asyncio.create_task(_chunk(frames, last))
            yield chunk
            if error is not None:
                raise error
    finally:
        following.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await following


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
    frames: AsyncIterator[Squared], last: int | None
) -> tuple[list[Squared], EngineError | None]:
    """The next frames, none at the end, and the error that came after them. Without a frame the error is raised."""
    read: list[Squared] = []
    while len(read) < CHUNK and (not read or read[-1].number != last):
        try:
            frame = await anext(frames, None)
        except EngineError as error:
            if not read:
                raise
            return read, error
        if frame is None or (last is not None and frame.number > last):
            break
        read.append(frame)
    return read, None
