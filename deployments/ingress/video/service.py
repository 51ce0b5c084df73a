"""The service of videos behind the HTTP layer: sessions in the store, their frames through the model."""

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from functools import partial

from deployments.ingress.video.answers import (
    LAST_PROMPTS,
    digest_of,
    known,
    known_prompts,
    to_keep,
)
from deployments.ingress.video.changes import Changes
from deployments.ingress.video.chunks import as_file
from deployments.ingress.video.dispatch import FrameDispatcher
from deployments.ingress.video.prompted import PromptedFrames, check_prompts
from deployments.ingress.video.reading import VideoReading
from deployments.ingress.video.streams import FileStreams
from deployments.observe.metrics import NAMES, Metrics
from deployments.protocol import ImageFile, Overloaded, Timings
from deployments.store.sessions import KeptRecord, SessionLimits, SessionStore
from deployments.video.frames import Picture, Squared
from deployments.video.protocol import (
    NO_PROMPTS,
    Damage,
    FramePrompts,
    Place,
    SessionCall,
    SessionConflict,
    SessionInfo,
    SessionRules,
    UnknownSession,
)
from deployments.video.record import Record


class VideoSessions:
    """`deployments.video.protocol.VideoService`."""

    def __init__(
        self, store: SessionStore, dispatcher: FrameDispatcher, reading: VideoReading, metrics: Metrics
    ) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._reading = reading
        self._metrics = metrics
        self._changes = Changes(store, dispatcher, metrics)
        self._prompted = PromptedFrames(store, dispatcher, reading)
        self._streams = FileStreams(store, dispatcher, reading, self._changes, metrics)

    async def open(
        self, tenant: str, rules: SessionRules, limits: SessionLimits, file: bytes = b"", name: str = ""
    ) -> SessionInfo:
        """See VideoService."""
        facts = await self._reading.facts(file) if file else None
        session_id, record = uuid.uuid4().hex, Record(rules, began=time.time(), video=facts)
        kept = KeptRecord(uuid.uuid4().hex, record.to_bytes())
        before = await self._store.open(tenant, session_id, kept, file, limits, name)
        if before is not None:
            await self._forget(tenant, before)
        return record.info(session_id, time.time())

    async def named(self, tenant: str, name: str) -> tuple[str, bytes] | None:
        """See VideoService."""
        return await self._store.named(tenant, name)

    async def note(self, tenant: str, session_id: str, note: bytes) -> None:
        """See VideoService."""
        if not await self._store.note(tenant, session_id, note):
            raise UnknownSession(session_id)

    async def restart(self, call: SessionCall, rules: SessionRules, timings: Timings) -> int:
        """See VideoService."""
        await self._streams.alone(call)

        async def attempt() -> int | None:
            base = await self._changes.load(call.tenant, call.session_id)
            before = base.record
            record = Record(rules, before.began, next_id=before.next_id, video=before.video)
            if record == before or await self._changes.replace(call, base, record):
                return record.next_id
            return None

        return await self._changes.in_turn(call, attempt, timings)

    async def session(self, tenant: str, session_id: str) -> SessionInfo:
        """See VideoService."""
        loaded = await self._changes.load(tenant, session_id)
        return loaded.record.info(session_id, time.time())

    async def sessions(self, tenant: str) -> list[SessionInfo]:
        """See VideoService."""
        found = await self._store.sessions(tenant)
        return [Record.from_bytes(content).info(name, time.time()) for name, content in found]

    async def end(self, tenant: str, session_id: str) -> None:
        """See VideoService."""
        if not await self._store.end(tenant, session_id):
            raise UnknownSession(session_id)
        await self._forget(tenant, session_id)

    async def _forget(self, tenant: str, session_id: str) -> None:
        """Drop what processes hold of a session that has ended."""
        await self._dispatcher.decoders.forget_session(tenant, session_id)
        with suppress(Overloaded):  # the state ends by itself
            await self._dispatcher.encoders.drop_session(tenant, session_id)

    async def frames(
        self,
        call: SessionCall,
        images: Sequence[ImageFile],
        first: int | None,
        prompts: FramePrompts,
        timings: Timings,
    ) -> list[bytes]:
        """See VideoService."""
        contents = [await image.content() for image in images]
        asked = [prompts, *[NO_PROMPTS] * (len(contents) - 1)]
        digests = [digest_of(call, each, content) for each, content in zip(asked, contents, strict=True)]

        async def attempt() -> list[bytes] | None:
            base = await self._changes.load(call.tenant, call.session_id)
            if base.record.video is not None:
                raise SessionConflict("this session has a video file: its frames come by .../propagate")
            start = base.record.next_frame if first is None else first
            before = await known(self._store, call, base.record, start, digests)
            done = len(before)
            self._metrics.add(NAMES.video_frames, done, outcome="repeated")
            if done == len(contents):
                return before
            if not done:
                check_prompts(base.record, prompts)
            numbered = enumerate(zip(contents, asked, strict=True), start)
            pictures = [Picture(number, content, each) for number, (content, each) in numbered][done:]
            keep = partial(to_keep, digests=digests[done:], first=start + done)
            fresh = await self._changes.track(call, base, pictures, timings, keep, contents[-1])
            return None if fresh is None else [*before, *fresh]

        return await self._changes.in_turn(call, attempt, timings)

    async def prompt(
        self, call: SessionCall, prompts: FramePrompts, frame: int | None, timings: Timings
    ) -> bytes:
        """See VideoService."""

        async def attempt() -> bytes | None:
            base = await self._changes.load(call.tenant, call.session_id)
            number = max(base.record.frame, 0) if frame is None else frame
            digest = digest_of(call, prompts, number=number)
            if answer := await known_prompts(self._store, call, digest):
                self._metrics.add(NAMES.video_frames, outcome="repeated")
                return answer
            about = await self._prompted.frame(call, base.record, frame, prompts)
            check_prompts(base.record, prompts)
            is_next = about.number != base.record.frame
            picture = (
                await asyncio.to_thread(as_file, about) if is_next and isinstance(about, Squared) else b""
            )

            def keep(answers: Sequence[bytes]) -> dict[int, bytes]:
                of_frame = to_keep(answers, [digest_of(call, NO_PROMPTS)], about.number) if is_next else {}
                return {**to_keep(answers, [digest], LAST_PROMPTS), **of_frame}

            answers = await self._changes.track(call, base, [about], timings, keep, picture)
            return answers[0] if answers else None

        return await self._changes.in_turn(call, attempt, timings)

    def propagate(
        self, call: SessionCall, first: int | None, last: int | None, place: Place
    ) -> AsyncGenerator[bytes | Damage]:
        """See VideoService."""
        return self._streams.propagate(call, first, last, place)
