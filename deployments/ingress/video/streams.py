"""Streams of a video file's answers. A session has one in this process: a newer one ends it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
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


@dataclass(slots=True, eq=False)
class _Stream:
    """One stream of a session."""

    frames: FileFrames | None = None
    """Its file, from the first frame on that it does not know the answer of."""
    ended: bool = False
    """A newer one has taken its place."""

    async def end(self) -> None:
        self.ended = True
        await self.close()

    async def close(self) -> None:
        if self.frames is not None:
            await self.frames.aclose()


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
        self._streams: dict[tuple[str, str], _Stream] = {}
        """The newest stream of each session, from its beginning on: the only one that may change it."""

    async def propagate(
        self, call: SessionCall, first: int | None, last: int | None, place: Place
    ) -> AsyncGenerator[bytes | Damage]:
        """See VideoSessions."""
        record = (await self._changes.load(call.tenant, call.session_id)).record
        if record.video is None:
            raise NoFile
        async with self._stream(call) as stream:
            if last is None or last >= record.next_frame:
                record = await self.alone(call, stream)
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
            frames = stream.frames = self._reading.frames(content, start, need.image_size)
            del content
            async with aclosing(chunks_of(frames, last)) as chunks:
                async for chunk in chunks:
                    async with place() as timings:
                        answers = await self._chunk(call, chunk, stream, timings)
                    for answer in answers:
                        yield answer
            if stream.ended:
                after = (await self._changes.load(call.tenant, call.session_id)).record
                raise OutOfOrder(ANOTHER_STREAM, after.next_frame)
            if frames.damage:
                yield Damage(frames.damage)

    async def alone(self, call: SessionCall, stream: _Stream | None = None) -> Record:
        """The session once no other stream of this process goes on with it. An earlier one ends after its chunk, be it
        that its client has gone or does not read. So a tenant's streams hold no more files than it has sessions.

        stream: takes its place at once, so that of several that begin together the newest goes on.
        """
        name = call.tenant, call.session_id
        earlier = self._streams.pop(name, None)
        if stream is not None:
            self._streams[name] = stream
        if earlier is not None:
            await earlier.end()
        return (await self._changes.settled(call)).record

    @asynccontextmanager
    async def _stream(self, call: SessionCall) -> AsyncIterator[_Stream]:
        name, stream = (call.tenant, call.session_id), _Stream()
        try:
            yield stream
        finally:
            if self._streams.get(name) is stream:
                del self._streams[name]
            await stream.close()

    async def _chunk(
        self, call: SessionCall, chunk: Sequence[Squared], stream: _Stream, timings: Timings
    ) -> list[bytes]:
        picture = await asyncio.to_thread(as_file, chunk[-1])
        first, digests = chunk[0].number, [digest_of(call, NO_PROMPTS)] * len(chunk)

        async def attempt() -> list[bytes] | None:
            base = await self._changes.load(call.tenant, call.session_id)
            if stream.ended or base.record.next_frame != first:
                raise OutOfOrder(ANOTHER_STREAM, base.record.next_frame)
            keep = partial(to_keep, digests=digests, first=first)
            return await self._changes.track(call, base, chunk, timings, keep, picture)

        return await self._changes.in_turn(call, attempt, timings)
