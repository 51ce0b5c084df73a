"""Reads video files off the event loop, one frame at a time, each resized to the model's square at once.

Streams share the threads: one that skips thousands of frames gives its thread to the others now and then. A frame that
is being decoded cannot be stopped, so a stream that ends waits for it.
"""

import asyncio
import io
import threading
import time
from collections.abc import Callable, Iterator
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
from sam3_engine.video_files.reading import Frame, Limits, Video, open_video

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
        read = partial(_facts, content, self._limits)
        return await asyncio.get_running_loop().run_in_executor(self._threads, read)

    def frames(self, content: bytes, first: int, side: int) -> "FileFrames":
        """The frames from number `first` on. side: of the square. Close them where they are not read to their end."""
        return FileFrames(self._threads, content, first, side, self._limits)


class FileFrames:
    """Frames of a file, one after the other; none after `aclose`. The file opens with the first one.

    Reading raises UnreadableVideo and VideoTooLarge.
    """

    def __init__(self, threads: Executor, content: bytes, first: int, side: int, limits: Limits) -> None:
        self._threads = threads
        self._content, self._first, self._side, self._limits = content, first, side, limits
        self._stack = ExitStack()
        self._lock = threading.Lock()
        """No two threads are in the file at the same time."""
        self._video: Video | None = None
        self._frames: Iterator[Frame | None] = iter(())
        self.closed = False
        self.damage: str | None = None
        """What is wrong with the file, once all of its frames have been read."""

    def __aiter__(self) -> "FileFrames":
        return self

    async def __anext__(self) -> Squared:
        while isinstance(frame := await self._run(self._next), _More):
            pass
        if frame is None:
            raise StopAsyncIteration
        return frame

    async def aclose(self) -> None:
        """Close the file, and let its bytes go."""
        self.closed = True
        await asyncio.shield(self._run(self._close))

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _next(self) -> Squared | _More | None:
        """The next frame, or as much on the way to it as a slice allows; None at the end."""
        end = time.monotonic() + SLICE_S
        with self._lock:
            if self.closed:
                return None
            if self._video is None:
                opened = open_video(io.BytesIO(self._content), self._limits)
                self._video = self._stack.enter_context(opened)
                self._frames = self._video.passing(self._first)
            for frame in self._frames:
                if frame is not None:
                    break
                if time.monotonic() >= end:
                    return _More.SKIPPED
            else:
                self.damage = self._video.damage
                return None
        square = decode_picture(Image.fromarray(frame.pixels), self._side).square
        return Squared(frame.number, square, frame.size, seconds=frame.seconds)

    def _close(self) -> None:
        with self._lock:
            self._video, self._frames, self._content = None, iter(()), b""
            self._stack.close()


def _facts(content: bytes, limits: Limits) -> VideoFacts:
    with open_video(io.BytesIO(content), limits) as video:
        first = next(video.frames(), None)
        if first is None:
            raise UnreadableVideo("the video has no frame")
        return VideoFacts(first.size, video.info.frames, video.info.rate, video.info.seconds)
