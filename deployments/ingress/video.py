"""The service of videos behind the HTTP layer: sessions in the store, their frames through the model.

A session's requests in one process are answered one after the other. Requests in other processes are not waited for:
the store takes one change at a time, and the slower request begins again from what the faster one left.
"""

import asyncio
import hashlib
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from deployments.ingress.propagation import Chunk, as_file, chunks_of, of_picture
from deployments.ingress.tracking import FrameDispatcher
from deployments.ingress.video_reading import VideoReading
from deployments.observe.metrics import NAMES, Metrics
from deployments.protocol import DeadlineExceeded, ImageFile, Overloaded, Timings
from deployments.store.sessions import Committed, KeptRecord, SessionLimits, SessionStore
from deployments.video.frames import Frame, Picture, Squared
from deployments.video.messages import EncodedFrame
from deployments.video.protocol import (
    MOST_CONCEPTS,
    NO_PROMPTS,
    BadPrompt,
    FramePrompts,
    NoFile,
    OutOfOrder,
    Place,
    SessionInfo,
    SessionRules,
    UnknownSession,
)
from deployments.video.record import Record
from sam3_engine.types import MaskFormat

T = TypeVar("T")

COMMIT_TRIES = 4
"""Attempts to change a session that other requests change too: docs/retries.md."""
KEPT_ANSWERS = 32
"""Frames whose answers a session keeps: they are answered again as before."""
MOST_ANSWER_BYTES = 2**20
"""An answer that takes more is not kept."""
DIGEST_BYTES = 16
OF_A_FILE = bytes(DIGEST_BYTES)
"""The digest of a video file's frames: their number tells them apart."""


@dataclass(slots=True)
class _Turns:
    """Who of this process works on a session, or waits for it."""

    lock: asyncio.Lock
    waiting: int = 0


class VideoSessions:
    """`deployments.video.protocol.VideoService`."""

    def __init__(
        self,
        store: SessionStore,
        dispatcher: FrameDispatcher,
        reading: VideoReading,
        metrics: Metrics,
    ) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._reading = reading
        self._metrics = metrics
        self._turns: dict[tuple[str, str], _Turns] = {}

    async def open(
        self, tenant: str, rules: SessionRules, limits: SessionLimits, file: bytes = b""
    ) -> SessionInfo:
        """Begin a session. See VideoService."""
        facts = await self._reading.facts(file) if file else None
        session_id, record = uuid.uuid4().hex, Record(rules, began=time.time(), video=facts)
        await self._store.open(tenant, session_id, _kept(uuid.uuid4().hex, record), file, limits)
        return record.info(session_id, time.time())

    async def session(self, tenant: str, session_id: str) -> SessionInfo:
        """A session. Raises UnknownSession."""
        _, record = await self._load(tenant, session_id)
        return record.info(session_id, time.time())

    async def sessions(self, tenant: str) -> list[SessionInfo]:
        """A tenant's sessions, newest first."""
        found = await self._store.sessions(tenant)
        return [Record.from_bytes(content).info(name, time.time()) for name, content in found]

    async def end(self, tenant: str, session_id: str) -> None:
        """End a session, in every process. Raises UnknownSession."""
        if not await self._store.end(tenant, session_id):
            raise UnknownSession(session_id)
        await self._dispatcher.decoders.forget_session(tenant, session_id)
        await self._dispatcher.encoders.drop_session(tenant, session_id)

    async def frames(
        self,
        tenant: str,
        session_id: str,
        images: Sequence[ImageFile],
        first: int | None,
        prompts: FramePrompts,
        mask_format: MaskFormat,
        limits: SessionLimits,
        timings: Timings,
    ) -> list[bytes]:
        """The session's next frames. See VideoService."""
        contents = [await image.content() for image in images]
        digests = [
            _digest(content, prompts if row == 0 else NO_PROMPTS, mask_format)
            for row, content in enumerate(contents)
        ]

        async def attempt() -> list[bytes] | None:
            base, record = await self._load(tenant, session_id)
            start = record.next_frame if first is None else first
            known = await self._known(tenant, session_id, record, start, digests)
            pictures = [
                Picture(start + row, content, prompts if row == 0 else NO_PROMPTS)
                for row, content in enumerate(contents)
            ][len(known) :]
            if pictures and not known:
                _check(record, prompts)
            change = _Change(tenant, session_id, base, record, pictures, mask_format, limits, timings)
            fresh = await self._make(change, digests[len(known) :], contents[-1]) if pictures else []
            if fresh is None:
                return None
            self._metrics.add(NAMES.video_frames, len(known), outcome="repeated")
            return [*known, *fresh]

        return await self._in_turn(tenant, session_id, attempt, timings)

    async def prompt(
        self,
        tenant: str,
        session_id: str,
        prompts: FramePrompts,
        frame: int | None,
        mask_format: MaskFormat,
        limits: SessionLimits,
        timings: Timings,
    ) -> bytes:
        """Prompts about the frame that was answered last. See VideoService."""

        async def attempt() -> bytes | None:
            base, record = await self._load(tenant, session_id)
            about = await self._frame_of(tenant, session_id, record, frame, prompts)
            _check(record, prompts)
            change = _Change(tenant, session_id, base, record, [about], mask_format, limits, timings)
            if about.number == record.frame:
                answers = await self._make(change, None, b"")
            else:
                picture = b"" if isinstance(about, Picture) else await asyncio.to_thread(as_file, about)
                answers = await self._make(change, [OF_A_FILE], picture)
            return answers[0] if answers else None

        return await self._in_turn(tenant, session_id, attempt, timings)

    async def propagate(
        self,
        tenant: str,
        session_id: str,
        first: int | None,
        last: int | None,
        mask_format: MaskFormat,
        limits: SessionLimits,
        place: Place,
    ) -> AsyncGenerator[bytes]:
        """The answers of a video file's frames. See VideoService."""
        _, record = await self._load(tenant, session_id)
        if record.video is None:
            raise NoFile
        start = record.next_frame if first is None else first
        behind = [OF_A_FILE] * max(0, record.next_frame - start)
        for answer in await self._known(tenant, session_id, record, start, behind):
            if last is None or start <= last:
                self._metrics.add(NAMES.video_frames, outcome="repeated")
                yield answer
            start += 1
        if last is not None and start > last:
            return
        content = await self._store.file(tenant, session_id)
        if content is None:
            raise UnknownSession(session_id)
        need = await self._dispatcher.need()
        async with (
            aclosing(self._reading.frames(content, start, need.image_size)) as frames,
            aclosing(chunks_of(self._dispatcher, frames, last)) as chunks,
        ):
            async for chunk in chunks:
                async with place() as timings:
                    answers = await self._next_chunk(tenant, session_id, chunk, mask_format, limits, timings)
                for answer in answers:
                    yield answer

    async def _next_chunk(
        self,
        tenant: str,
        session_id: str,
        chunk: Chunk,
        mask_format: MaskFormat,
        limits: SessionLimits,
        timings: Timings,
    ) -> list[bytes]:
        picture = await asyncio.to_thread(as_file, chunk.frames[-1])
        digests = [OF_A_FILE] * len(chunk.frames)

        async def attempt() -> list[bytes] | None:
            base, record = await self._load(tenant, session_id)
            known = await self._known(tenant, session_id, record, chunk.frames[0].number, digests)
            if known:
                raise OutOfOrder("another request goes on with this session", record.next_frame)
            change = _Change(tenant, session_id, base, record, chunk.frames, mask_format, limits, timings)
            return await self._make(change, digests, picture, chunk.take())

        return await self._in_turn(tenant, session_id, attempt, timings)

    async def _make(
        self,
        change: "_Change",
        digests: Sequence[bytes] | None,
        picture: bytes,
        ahead: "asyncio.Task[list[EncodedFrame]] | None" = None,
    ) -> list[bytes] | None:
        """Track frames, and put record and answers into the store. None where another request was faster.

        digests: under which each answer is kept; None: of prompts, whose answers are not kept. picture: of the last
        frame. Raises UnknownSession, and what `FrameDispatcher.track` raises.
        """
        frames, record = change.frames, change.record.looking_for(change.frames[0].prompts.concepts)
        revision, tracked = await self._dispatcher.track(
            change.tenant,
            change.session_id,
            change.base,
            record,
            frames,
            change.mask_format,
            change.timings,
            ahead,
        )
        answers = dict(zip((one.number for one in frames), tracked.answers, strict=True))
        kept = {
            number: digest + answers[number]
            for number, digest in zip(answers, digests or (), strict=False)
            if len(answers[number]) <= MOST_ANSWER_BYTES
        }
        committed = await self._store.commit(
            change.tenant,
            change.session_id,
            change.base,
            _kept(revision, tracked.record),
            change.limits,
            kept,
            tracked.record.next_frame - KEPT_ANSWERS,
            picture,
        )
        if committed is Committed.GONE:
            raise UnknownSession(change.session_id)
        if committed is Committed.OTHER:
            return None
        outcome = "prompted" if digests is None else "tracked"
        self._metrics.add(NAMES.video_frames, len(answers), outcome=outcome)
        self._metrics.add(NAMES.video_resumed, tier=tracked.resumed)
        return list(tracked.answers)

    async def _load(self, tenant: str, session_id: str) -> tuple[str, Record]:
        found = await self._store.load(tenant, session_id)
        if found is None:
            raise UnknownSession(session_id)
        return found.revision, Record.from_bytes(found.record)

    async def _frame_of(
        self, tenant: str, session_id: str, record: Record, number: int | None, prompts: FramePrompts
    ) -> Frame:
        """The frame that prompts are about. Raises OutOfOrder."""
        number = max(record.frame, 0) if number is None else number
        of_file = record.video is not None
        if number != record.frame or record.frame < 0:
            begins_here = of_file and (record.frame < 0 or number == record.next_frame)
            if not begins_here:
                raise OutOfOrder(_about_last(record, number), record.next_frame)
            return await self._read(tenant, session_id, number, prompts)
        content = await self._store.picture(tenant, session_id)
        if content is None and of_file:
            return await self._read(tenant, session_id, number, prompts)
        if content is None:
            raise OutOfOrder(
                f"the picture of frame {number} is not kept any more: send the prompts with the next frame",
                record.next_frame,
            )
        if not of_file:
            return Picture(number, content, prompts)
        assert record.size is not None
        return Squared(number, await asyncio.to_thread(of_picture, content), record.size, prompts)

    async def _read(self, tenant: str, session_id: str, number: int, prompts: FramePrompts) -> Squared:
        """A frame of the session's file. Raises OutOfOrder where it has no such frame."""
        content = await self._store.file(tenant, session_id)
        if content is None:
            raise UnknownSession(session_id)
        need = await self._dispatcher.need()
        async with aclosing(self._reading.frames(content, number, need.image_size)) as frames:
            async for frame in frames:
                return replace(frame, prompts=prompts)
        raise OutOfOrder(f"the video has no frame {number}", number)

    async def _known(
        self, tenant: str, session_id: str, record: Record, start: int, digests: Sequence[bytes]
    ) -> list[bytes]:
        """Answers of the first of these frames, as far as the session has answered them. Raises OutOfOrder for other
        frames than those that it has answered, and for frames that leave some out."""
        expected = record.next_frame
        if start > expected:
            raise OutOfOrder(f"the session expects frame {expected}, not {start}", expected)
        count = min(expected - start, len(digests))
        if not count:
            return []
        found = await self._store.answers(tenant, session_id, range(start, start + count))
        known = []
        for number, (answer, digest) in enumerate(zip(found, digests, strict=False), start):
            if answer is None:
                raise OutOfOrder(
                    f"frame {number} was answered or left out, and no answer of it is kept: the session expects frame "
                    f"{expected}",
                    expected,
                )
            if answer[:DIGEST_BYTES] != digest:
                raise OutOfOrder(
                    f"frame {number} was answered, for another picture or other prompts: the session expects frame "
                    f"{expected}",
                    expected,
                )
            known.append(answer[DIGEST_BYTES:])
        return known

    async def _in_turn(
        self,
        tenant: str,
        session_id: str,
        attempt: Callable[[], Awaitable[T | None]],
        timings: Timings,
    ) -> T:
        """What `attempt` gives, after the requests for the session that came before; again while others outrun it."""
        left = None if timings.deadline is None else timings.deadline - time.time()
        try:
            async with asyncio.timeout(left), self._turn(tenant, session_id):
                for _ in range(COMMIT_TRIES):
                    if (answer := await attempt()) is not None:
                        return answer
            raise Overloaded
        except TimeoutError:
            raise DeadlineExceeded from None
        finally:
            for stage, seconds in timings.stages.items():
                self._metrics.observe(NAMES.stage_seconds, seconds, stage=stage)

    @asynccontextmanager
    async def _turn(self, tenant: str, session_id: str) -> AsyncIterator[None]:
        turns = self._turns.setdefault((tenant, session_id), _Turns(asyncio.Lock()))
        turns.waiting += 1
        try:
            async with turns.lock:
                yield
        finally:
            turns.waiting -= 1
            if not turns.waiting:
                self._turns.pop((tenant, session_id), None)


@dataclass(frozen=True, slots=True)
class _Change:
    """Frames that a session, as it was read, is to go on with."""

    tenant: str
    session_id: str
    base: str
    record: Record
    frames: Sequence[Frame]
    mask_format: MaskFormat
    limits: SessionLimits
    timings: Timings


def _kept(revision: str, record: Record) -> KeptRecord:
    return KeptRecord(revision, record.to_bytes())


def _digest(content: bytes, prompts: FramePrompts, mask_format: MaskFormat) -> bytes:
    """What tells a frame's question from others of the same number."""
    digest = hashlib.sha256(content)
    digest.update(repr((prompts, mask_format)).encode())
    return digest.digest()[:DIGEST_BYTES]


def _about_last(record: Record, frame: int) -> str:
    if record.frame < 0:
        return "the session has no frame yet: send prompts with its first one"
    return f"prompts are for the frame that was answered last, {record.frame}, not for {frame}"


def _check(record: Record, prompts: FramePrompts) -> None:
    """Raises BadPrompt for what the session cannot do."""
    known = {one.id for one in record.objects}
    named = [one.object_id for one in prompts.objects if one.object_id is not None]
    for number in named:
        if number not in known:
            raise BadPrompt(f"the session has no object {number}: it has {sorted(known) or 'none'}")
    if len(set(named)) < len(named):
        raise BadPrompt("an object has several prompts: send all of its clicks in one")
    new = sum(one.object_id is None for one in prompts.objects)
    removed = sum(one.object_id is not None and one.prompt is None for one in prompts.objects)
    if new and len(known) + new - removed > record.rules.most:
        raise BadPrompt(f"the session follows {len(known)} objects, and may follow {record.rules.most}")
    if len(record.rules.concepts) + len(prompts.concepts) > MOST_CONCEPTS:
        raise BadPrompt(f"a session looks for {MOST_CONCEPTS} texts at most")
