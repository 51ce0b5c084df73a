"""Decodes images off the event loop. Pictures that take long have threads of their own: they cannot hold up others.

How long a picture takes is known from its header. A picture that nobody waits for any more is decoded no further than
its next rows, and one that has not begun is not begun.
"""

import asyncio
import math
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial

from sam3_engine.errors import DecodingStopped
from sam3_engine.formats.progress import Progress
from sam3_engine.images import DecodedImage, decode_image

LONG_S = 0.5
"""Seconds of decoding beyond which a picture goes to the threads of large ones."""


class ImageDecoding:
    """Decodes images of at most `max_pixels`: in `threads` threads, and large ones in half as many others, at least
    one."""

    def __init__(self, threads: int, max_pixels: int, long_s: float = LONG_S) -> None:
        self.threads: Executor = ThreadPoolExecutor(threads, thread_name_prefix="decode-image")
        self._others = ThreadPoolExecutor(max(1, threads // 2), thread_name_prefix="decode-large-image")
        self._max_pixels = max_pixels
        self._long_s = long_s

    async def decode(self, content: bytes, target: int) -> DecodedImage:
        """The picture as `decode_image` has it. Cancelling stops it."""
        try:
            return await self._decode(self.threads, content, target, self._long_s)
        except _TakesLong:
            return await self._decode(self._others, content, target, math.inf)

    async def _decode(
        self, executor: Executor, content: bytes, target: int, most_seconds: float
    ) -> DecodedImage:
        waiting = _Waiting(most_seconds)
        decode = partial(decode_image, content, max_pixels=self._max_pixels, target=target, progress=waiting)
        try:
            return await asyncio.get_running_loop().run_in_executor(executor, decode)
        finally:
            waiting.ended = True

    def close(self) -> None:
        """Wait for the threads."""
        self.threads.shutdown()
        self._others.shutdown()


class _TakesLong(Exception):
    pass


class _Waiting(Progress):
    """Stops a decoding that nobody waits for any more, or that would take longer than `most_seconds`."""

    def __init__(self, most_seconds: float) -> None:
        self.ended = False
        self._most_seconds = most_seconds

    def begin(self, seconds: float) -> None:
        if seconds > self._most_seconds:
            raise _TakesLong
        self.step()

    def step(self) -> None:
        if self.ended:
            raise DecodingStopped
