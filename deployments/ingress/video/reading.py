"""Reads video files off the event loop, one frame at a time, each resized to the model's square at once.

Streams share the threads: one that skips thousands of frames gives its thread to the others now and then. A frame that
is being decoded cannot be stopped, so a stream that ends waits for it.
"""

import asyncio
import io
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import ExitStack
from enum import Enum
from functools import partial
from typing import TypeVar

from PIL import Image

from deployments.video.frames import Squared
from deployments.video.protocol import VideoFacts
from sam3_engine.errors import UnreadableVideo
from sam3_engine.images import decode_picture
from sam3_engine.video_files.reading import Frame, Limits, open_video

T = TypeVar("T")

SLICE_S = 0.25
"""Seconds for which a stream may skip frames, until other streams get its thread."""


class _More(Enum):
    """The next frame has not been reached yet."""

    SKIPPED = "skipped"


class VideoReading:
    """Reads files in `threads` threads. limits: of the files."""

    def __init__(self, threads: int, limits: Limits) -> None:
        self._threads: Executor = ThreadPoolExecutor(threads, thread_name_prefix="read-video")
        self._limits = limits

    async def facts(self, content: bytes) -> VideoFacts:
        """What a file says of itself, once its first frame has been read. Raises UnreadableVideo, VideoTooLarge."""
        return await self._run(partial(_facts, content, self._limits))

    async def frames(self, content: bytes, first: int, side: int) -> AsyncGenerator[Squared]:
        """The frames from number `first` on. side: of the square. Raises UnreadableVideo, VideoTooLarge. Close it where
        it is not read to its end."""
        video = _Open(content, first, side, self._limits)
        try:
            while (frame := await self._run(video.next)) is not None:
                if not isinstance(frame, _More):
                    yield frame
        finally:
            await asyncio.shield(self._run(video.close))

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


class _Open:
    """A file that is being read. It opens with its first frame. No two threads are in it at the same time."""

    def __init__(self, content: bytes, first: int, side: int, limits: Limits) -> None:
        self._content, self._first, self._side, self._limits = content, first, side, limits
        self._stack = ExitStack()
        self._lock = threading.Lock()
        self._frames: Iterator[Frame | None] | None = None
        self._closed = False

    def next(self) -> Squared | _More | None:
        """The next frame, or as much on the way to it as a slice allows; None at the end."""
        end = time.monotonic() + SLICE_S
        with self._lock:
            if self._closed:
                return None
            if self._frames is None:
                video = self._stack.enter_context(open_video(io.BytesIO(self._content), self._limits))
                self._frames = video.passing(self._first)
            for frame in self._frames:
                if frame is not None:
                    break
                if time.monotonic() >= end:
                    return _More.SKIPPED
            else:
                return None
        square = decode_picture(Image.fromarray(frame.pixels), self._side).square
        return Squared(frame.number, square, frame.size, seconds=frame.seconds)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._closed = True
            self._stack.close()


def _facts(content: bytes, limits: Limits) -> VideoFacts:
    with open_video(io.BytesIO(content), limits) as video:
        first = next(video.frames(), None)
        if first is None:
            raise UnreadableVideo("the video has no frame")
        return VideoFacts(first.size, video.info.frames, video.info.rate, video.info.seconds)
