"""Files on their way to frames, in threads that all streams share."""

import asyncio

import pytest

from deployments.ingress.video import reading
from deployments.ingress.video.reading import VideoReading
from sam3_engine.video_files.reading import Limits
from tests.support.clips import clip

FRAMES = 40


async def numbers(files: VideoReading, content: bytes, first: int) -> list[int]:
    return [frame.number async for frame in files.frames(content, first, 64)]


async def test_frames_come_from_the_number_that_is_asked_for() -> None:
    files, content = VideoReading(1, Limits()), clip(FRAMES)
    assert await numbers(files, content, 0) == list(range(FRAMES))
    assert await numbers(files, content, FRAMES - 2) == [FRAMES - 2, FRAMES - 1]
    assert await numbers(files, content, FRAMES) == []


async def test_a_stream_that_skips_frames_lets_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "SLICE_S", 0.0)
    files, content, order = VideoReading(1, Limits()), clip(FRAMES), list[str]()

    async def first_frame(name: str, first: int) -> None:
        frames = files.frames(content, first, 64)
        await anext(frames)
        order.append(name)
        await frames.aclose()

    late = asyncio.create_task(first_frame("late", FRAMES - 1))
    await asyncio.sleep(0)
    await asyncio.gather(late, first_frame("early", 0))
    assert order == ["early", "late"]


async def test_a_closed_file_has_no_more_frames() -> None:
    frames = VideoReading(1, Limits()).frames(clip(3), 0, 64)
    await anext(frames)
    await frames.aclose()
    assert [frame async for frame in frames] == []
    await frames.aclose()
