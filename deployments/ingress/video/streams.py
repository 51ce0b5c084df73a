"""Streams of a video file's answers. A session has one in this process: a newer one ends it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial

from deployments.ingress.video.answers import digest_of, known, to_keep
from deployments.ingress.video.changes import Changes
from deployments.ingress.video.chunks import as_file, chunks_of
from deployments.ingress.video.dispatch import FrameDispatcher
from deployments.ingress.video.reading import FileFrames, VideoReading
from deployments.observe.metrics import NAMES, Metrics
from deployments.protocol import Timings
from deployments.store.sessions import SessionStore
from deployments.video.frames import Squared
from deployments.video.protocol import (
    NO_PROMPTS,
    Damage,
    NoFile,
    OutOfOrder,
    Place,
    SessionCall,
    UnknownSession,
)
from deployments.video.record import Record

ANOTHER_STREAM = "another request goes on with this session"


class FileStreams:
    """The streams of this process."""

    def __init__(
        self,
        store: SessionStore,
        dispatcher: FrameDispatcher,
        reading: VideoReading,
        changes: Changes,
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._reading = reading
        self._changes = changes
        self._metrics = metrics
        self._files: dict[tuple[str, str], FileFrames] = {}
        """The files that are read, by session: one each, of the newest stream."""

    async def propagate(
        self, call: SessionCall, first: int | None, last: int | None, place: Place
    ) -> AsyncGenerator[bytes | Damage]:
        """See VideoService."""
        record = (await self._changes.load(call.tenant, call.session_id)).record
        if record.video is None:
            raise NoFile
        if last is None or last >= record.next_frame:
            record = await self.alone(call)
        start = record.next_frame if first is None else first
        behind = [digest_of(call, NO_PROMPTS)] * max(0, record.next_frame - start)
        for answer in await known(self._store, call, record, start, behind):
            if last is None or start <= last:
                self._metrics.add(NAMES.video_frames, outcome="repeated")
                yield answer
            start += 1
        if last is not None and start > last:
            return
        content = await self._store.file(call.tenant, call.session_id)
        if content is None:
            raise UnknownSession(call.session_id)
        need = await self._dispatcher.need()
        async with (
            self._stream(call, self._reading.frames(content, start, need.image_size)) as frames,
            aclosing(chunks_of(frames, last)) as chunks,
        ):
            del content
            async for chunk in chunks:
                async with place() as timings:
                    answers = await self._chunk(call, chunk, frames, timings)
                for answer in answers:
                    yield answer
            if frames.closed:
                after = (await self._changes.load(call.tenant, call.session_id)).record
                raise OutOfOrder(ANOTHER_STREAM, after.next_frame)
            if frames.damage:
                yield Damage(frames.damage)

    async def alone(self, call: SessionCall) -> Record:
        """The session once no other stream of this process goes on with it. An earlier one ends after its chunk, be it
        that its client has gone or does not read. So a tenant's streams hold no more files than it has sessions."""
        earlier = self._files.pop((call.tenant, call.session_id), None)
        if earlier is not None:
            await earlier.aclose()
        return (await self._changes.settled(call)).record

    @asynccontextmanager
    async def _stream(self, call: SessionCall, frames: FileFrames) -> AsyncIterator[FileFrames]:
        name = call.tenant, call.session_id
        self._files[name] = frames
        try:
            yield frames
        finally:
            if self._files.get(name) is frames:
                del self._files[name]
            await frames.aclose()

    async def _chunk(
        self, call: SessionCall, chunk: Sequence[Squared], frames: FileFrames, timings: Timings
    ) -> list[bytes]:
        picture = await asyncio.to_thread(as_file, chunk[-1])
        first, digests = chunk[0].number, [digest_of(call, NO_PROMPTS)] * len(chunk)

        async def attempt() -> list[bytes] | None:
            base = await self._changes.load(call.tenant, call.session_id)
            if frames.closed or base.record.next_frame != first:
                raise OutOfOrder(ANOTHER_STREAM, base.record.next_frame)
            keep = partial(to_keep, digests=digests, first=first)
            return await self._changes.track(call, base, chunk, timings, keep, picture)

        return await self._changes.in_turn(call, attempt, timings)
