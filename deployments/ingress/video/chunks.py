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

CHUNK = 4
"""Frames that are encoded and tracked at once."""
QUALITY = 95
"""Of the JPEG that is kept of a frame."""


async def chunks_of(frames: AsyncIterator[Squared], last: int | None) -> AsyncGenerator[list[Squared]]:
    """The frames in chunks, to number `last`. Close it where it is not read to its end. Raises what `frames` raises."""
    following = asyncio.create_task(_chunk(frames, last))
    try:
        while chunk := await following:
            following = asyncio.create_task(_chunk(frames, last))
            yield chunk
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


async def _chunk(frames: AsyncIterator[Squared], last: int | None) -> list[Squared]:
    """The next frames; none at the end."""
    read: list[Squared] = []
    while len(read) < CHUNK and (not read or read[-1].number != last):
        frame = await anext(frames, None)
        if frame is None or (last is not None and frame.number > last):
            break
        read.append(frame)
    return read
