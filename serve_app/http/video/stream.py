"""Frames as parts of a stream: a line each, or server-sent events."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any

import orjson

LINES, EVENTS = "application/x-ndjson", "text/event-stream"
ALIVE_S = 10.0
"""Seconds without a frame after which a stream of events says that it lives: servers in between close silent ones."""


@dataclass(frozen=True, slots=True)
class StreamForm:
    """How a stream's parts are written."""

    media_type: str

    def frame(self, answer: bytes) -> bytes:
        """One frame. In a stream of events its number is the id that a browser comes back with."""
        if self.media_type == LINES:
            return answer + b"\n"
        number = orjson.loads(answer)["frame"]
        return b"id: %d\nevent: frame\ndata: %s\n\n" % (number, answer)

    def last(self, event: str, body: dict[str, Any]) -> bytes:
        """The end: done, or error."""
        content = orjson.dumps({event: body})
        if self.media_type == LINES:
            return content + b"\n"
        return b"event: %s\ndata: %s\n\n" % (event.encode(), content)


async def numbered_parts(
    frames: AsyncGenerator[bytes], form: StreamForm
) -> AsyncGenerator[tuple[int | None, bytes]]:
    """Each frame's number and part; a comment between them where a stream of events is silent for long."""
    coming: asyncio.Task[bytes | None] | None = None
    begun = False
    try:
        while True:
            coming = coming or asyncio.ensure_future(_next(frames))
            patience = ALIVE_S if begun and form.media_type == EVENTS else None
            done, _ = await asyncio.wait([coming], timeout=patience)
            if not done:
                yield None, b": alive\n\n"
                continue
            answer, coming = coming.result(), None
            if answer is None:
                return
            begun = True
            yield orjson.loads(answer)["frame"], form.frame(answer)
    finally:
        if coming is not None:
            coming.cancel()
            await asyncio.wait([coming])
        await frames.aclose()


async def _next(frames: AsyncGenerator[bytes]) -> bytes | None:
    return await anext(frames, None)
