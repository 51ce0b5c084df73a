"""A session's way from one record to the next, in turn with the other requests for it.

A session's requests in one process are answered one after the other. Requests in other processes are not waited for:
the store takes one change at a time, and the slower request begins again from what the faster one left.
"""

import asyncio
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from deployments.ingress.video.answers import KEPT_ANSWERS
from deployments.ingress.video.dispatch import FrameDispatcher
from deployments.observe.metrics import NAMES, Metrics
from deployments.protocol import DeadlineExceeded, Overloaded, Timings
from deployments.store.sessions import Committed, KeptRecord, SessionStore
from deployments.video.frames import Frame
from deployments.video.protocol import SessionCall, UnknownSession
from deployments.video.record import Record

T = TypeVar("T")

COMMIT_TRIES = 4
"""Attempts to change a session that other requests change too: docs/retries.md."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A session as it was read. revision: of its record."""

    revision: str
    record: Record


@dataclass(slots=True)
class _Turns:
    """The requests of this process that work on a session, or wait for it."""

    lock: asyncio.Lock
    waiting: int = 0


class Changes:
    """The sessions of one process."""

    def __init__(self, store: SessionStore, dispatcher: FrameDispatcher, metrics: Metrics) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._metrics = metrics
        self._turns: dict[tuple[str, str], _Turns] = {}

    async def load(self, tenant: str, session_id: str) -> Loaded:
        """A session. Raises UnknownSession."""
        found = await self._store.load(tenant, session_id)
        if found is None:
            raise UnknownSession(session_id)
        return Loaded(found.revision, Record.from_bytes(found.record))

    async def settled(self, call: SessionCall) -> Loaded:
        """A session once the requests of this process that came before are answered. Raises UnknownSession."""
        async with self._turn(call.tenant, call.session_id):
            return await self.load(call.tenant, call.session_id)

    async def replace(self, call: SessionCall, base: Loaded, record: Record) -> bool | None:
        """Put another record in the place of a session's own, without answers. None where another request was faster.
        Raises UnknownSession."""
        kept = KeptRecord(uuid.uuid4().hex, record.to_bytes())
        committed = await self._store.commit(
            call.tenant, call.session_id, base.revision, kept, call.limits, oldest=sys.maxsize
        )
        return _counts(committed, call)

    async def track(
        self,
        call: SessionCall,
        base: Loaded,
        frames: Sequence[Frame],
        timings: Timings,
        keep: Callable[[Sequence[bytes]], Mapping[int, bytes]],
        picture: bytes,
    ) -> list[bytes] | None:
        """Track frames, and put record and answers into the store. None where another request was faster.

        keep: what the store keeps of the answers. picture: file of the last frame; empty: the one before stays. Raises
        UnknownSession, and what `FrameDispatcher.track` raises.
        """
        record = base.record.looking_for(frames[0].prompts.concepts)
        revision, tracked = await self._dispatcher.track(call, base.revision, record, frames, timings)
        committed = await self._store.commit(
            call.tenant,
            call.session_id,
            base.revision,
            KeptRecord(revision, tracked.record.to_bytes()),
            call.limits,
            keep(tracked.answers),
            tracked.record.next_frame - KEPT_ANSWERS,
            picture,
        )
        if not _counts(committed, call):
            return None
        outcome = "prompted" if frames[0].number == base.record.frame else "tracked"
        self._metrics.add(NAMES.video_frames, len(tracked.answers), outcome=outcome)
        self._metrics.add(NAMES.video_resumed, tier=tracked.resumed)
        return list(tracked.answers)

    async def in_turn(
        self, call: SessionCall, attempt: Callable[[], Awaitable[T | None]], timings: Timings
    ) -> T:
        """What `attempt` gives, after the requests for the session that came before; again while others outrun it.

        Raises Overloaded, DeadlineExceeded, and what `attempt` raises.
        """
        left = None if timings.deadline is None else timings.deadline - time.time()
        try:
            async with asyncio.timeout(left), self._turn(call.tenant, call.session_id):
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


def _counts(committed: Committed, call: SessionCall) -> bool | None:
    """None where another request was faster. Raises UnknownSession."""
    if committed is Committed.GONE:
        raise UnknownSession(call.session_id)
    return committed is Committed.DONE or None
