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
    """The service of videos. Each method raises StoreAway."""

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
        """Begin a session. file: of its video; empty where frames come one by one. name: takes the place of the
        tenant's session that had it. Raises SessionsFull, UnreadableVideo, VideoTooLarge."""
        facts = await self._reading.facts(file) if file else None
        session_id, record = uuid.uuid4().hex, Record(rules, began=time.time(), video=facts)
        kept = KeptRecord(uuid.uuid4().hex, record.to_bytes())
        before = await self._store.open(tenant, session_id, kept, file, limits, name)
        if before is not None:
            await self._forget(tenant, before)
        return record.info(session_id, time.time())

    async def named(self, tenant: str, name: str) -> tuple[str, bytes] | None:
        """Id and note of the session that has a name; None where no session has it."""
        return await self._store.named(tenant, name)

    async def note(self, tenant: str, session_id: str, note: bytes) -> None:
        """Keep what the session's client says of it. Raises UnknownSession."""
        if not await self._store.note(tenant, session_id, note):
            raise UnknownSession(session_id)

    async def restart(self, call: SessionCall, rules: SessionRules, timings: Timings) -> int:
        """Begin a session anew, with other rules: its frames, objects and answers are forgotten. Its video file stays,
        and no id is used again. The id of its next object is returned. A stream of its file ends.

        Raises UnknownSession, Overloaded, DeadlineExceeded.
        """
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
        """A session. Raises UnknownSession."""
        loaded = await self._changes.load(tenant, session_id)
        return loaded.record.info(session_id, time.time())

    async def sessions(self, tenant: str) -> list[SessionInfo]:
        """A tenant's sessions, newest first."""
        found = await self._store.sessions(tenant)
        return [Record.from_bytes(content).info(name, time.time()) for name, content in found]

    async def end(self, tenant: str, session_id: str) -> None:
        """End a session, in every process. Raises UnknownSession."""
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
        """The session's next frames: all of them are answered, or none. Each answer is the JSON of one frame.

        first: the number of the first one; None: the one that the session expects. Frames that were answered already
        are answered as before. prompts: for the first one.

        Raises UnknownSession, OutOfOrder, BadPrompt, SessionConflict, Overloaded, DeadlineExceeded, and the errors of
        `ImageFile.content`.
        """
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
        """Prompts about the frame that was answered last: the objects that they change. frame: its number; None: any.

        Of a video file also about its next frame, and about any frame where none was answered yet: the session then
        begins there. The latest prompts are answered as before when they come again, and count once. Raises as
        `frames`.
        """

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
        """The answers of a video file's frames, one after the other, to its end; after them Damage, if there is any.

        first, last: numbers of the first one and the last one. Frames that were answered already are answered as
        before, as far back as they are kept. place: is held while frames are worked on. Raises NoFile, and as `frames`;
        what was answered before that stays. Close it where it is not read to its end.
        """
        return self._streams.propagate(call, first, last, place)
