"""Frames of a file in chunks."""

from collections.abc import AsyncGenerator

import numpy as np
import pytest

from deployments.ingress.video.chunks import CHUNK, chunks_of
from deployments.video.frames import Squared
from sam3_engine.errors import VideoTooLarge
from sam3_engine.types import ImageSize


async def file_of(frames: int, error: Exception | None = None) -> AsyncGenerator[Squared]:
    for number in range(frames):
        yield Squared(number, np.zeros((2, 2, 3), np.uint8), ImageSize(2, 2), seconds=number / 25)
    if error is not None:
        raise error


async def numbers(frames: AsyncGenerator[Squared], last: int | None = None) -> list[list[int]]:
    return [[frame.number for frame in chunk] async for chunk in chunks_of(frames, last)]


async def test_all_frames_come_in_order() -> None:
    assert await numbers(file_of(0)) == []
    assert await numbers(file_of(2 * CHUNK)) == [list(range(CHUNK)), list(range(CHUNK, 2 * CHUNK))]
    assert await numbers(file_of(CHUNK + 1)) == [list(range(CHUNK)), [CHUNK]]
    assert await numbers(file_of(3 * CHUNK), last=CHUNK) == [list(range(CHUNK)), [CHUNK]]


@pytest.mark.parametrize("frames", range(2 * CHUNK + 1))
async def test_an_error_comes_after_all_frames_before_it(frames: int) -> None:
    read: list[int] = []

    async def follow() -> None:
        async for chunk in chunks_of(file_of(frames, VideoTooLarge("more than 10 frames")), None):
            read.extend(frame.number for frame in chunk)

    with pytest.raises(VideoTooLarge, match="more than"):
        await follow()
    assert read == list(range(frames))
