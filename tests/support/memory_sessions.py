"""The store's sessions of videos in this process's memory: the rules of the scripts in Python, for tests."""

import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from deployments.protocol import StoreAway
from deployments.store.sessions import Committed, KeptRecord, SessionLimits, SessionsFull


@dataclass
class Held:
    kept: KeptRecord
    file: bytes
    used: float
    name: str = ""
    note: bytes = b""
    picture: bytes = b""
    answers: dict[int, bytes] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        parts = (self.kept.record, self.file, self.picture, self.note, *self.answers.values())
        return sum(map(len, parts))


@dataclass
class MemorySessions:
    """`deployments.store.sessions.SessionStore`. away: it does not answer."""

    idle_s: float = 60.0
    budget: int = 10**9
    clock: Callable[[], float] = time.monotonic
    away: bool = False

    def __post_init__(self) -> None:
        self._held: dict[tuple[str, str], Held] = {}

    @property
    def open_sessions(self) -> int:
        return len(self._held)

    async def open(
        self, tenant: str, session: str, kept: KeptRecord, file: bytes, limits: SessionLimits, name: str = ""
    ) -> str | None:
        self._step()
        if (tenant, session) in self._held:
            return None
        before = self._with_name(tenant, name)
        if before is not None:
            del self._held[tenant, before]
        if sum(owner == tenant for owner, _ in self._held) >= limits.sessions:
            raise SessionsFull
        self._held[tenant, session] = Held(kept, file, self.clock(), name)
        if self._too_many(tenant, limits):
            del self._held[tenant, session]
            raise SessionsFull
        return before

    async def named(self, tenant: str, name: str) -> tuple[str, bytes] | None:
        self._step()
        found = self._with_name(tenant, name)
        return None if found is None else (found, self._held[tenant, found].note)

    async def note(self, tenant: str, session: str, note: bytes) -> bool:
        held = self._find(tenant, session)
        if held is not None:
            held.note = note
        return held is not None

    async def load(self, tenant: str, session: str) -> KeptRecord | None:
        held = self._find(tenant, session)
        return held.kept if held else None

    async def commit(
        self,
        tenant: str,
        session: str,
        base: str,
        kept: KeptRecord,
        limits: SessionLimits,
        answers: Mapping[int, bytes] | None = None,
        oldest: int = 0,
        picture: bytes = b"",
    ) -> Committed:
        held = self._find(tenant, session)
        if held is None:
            return Committed.GONE
        if held.kept.revision == kept.revision:
            return Committed.DONE
        if held.kept.revision != base:
            return Committed.OTHER
        held.kept, held.picture = kept, picture or held.picture
        held.answers = {frame: answer for frame, answer in held.answers.items() if frame >= oldest}
        held.answers |= {frame: zlib.compress(answer, level=1) for frame, answer in (answers or {}).items()}
        if self._too_many(tenant, limits):
            held.picture = b""
        if self._too_many(tenant, limits):
            held.answers = {}
        return Committed.DONE

    async def answers(self, tenant: str, session: str, frames: Sequence[int]) -> list[bytes | None]:
        held = self._find(tenant, session)
        found = [held.answers.get(frame) if held else None for frame in frames]
        return [zlib.decompress(one) if one else None for one in found]

    async def picture(self, tenant: str, session: str) -> bytes | None:
        held = self._find(tenant, session)
        return (held.picture or None) if held else None

    async def file(self, tenant: str, session: str) -> bytes | None:
        held = self._find(tenant, session)
        return (held.file or None) if held else None

    async def end(self, tenant: str, session: str) -> bool:
        self._step()
        return self._held.pop((tenant, session), None) is not None

    async def sessions(self, tenant: str) -> list[tuple[str, bytes]]:
        self._step()
        own = [(name, held.kept.record) for (owner, name), held in self._held.items() if owner == tenant]
        return own[::-1]

    async def sweep_sessions(self) -> tuple[int, int]:
        self._step()
        return len(self._held), sum(held.nbytes for held in self._held.values())

    def _step(self) -> None:
        if self.away:
            raise StoreAway
        limit = self.clock() - self.idle_s
        self._held = {name: held for name, held in self._held.items() if held.used > limit}

    def _find(self, tenant: str, session: str) -> Held | None:
        self._step()
        held = self._held.get((tenant, session))
        if held is not None:
            held.used = self.clock()
        return held

    def _with_name(self, tenant: str, name: str) -> str | None:
        held = ((session, one) for (owner, session), one in self._held.items() if owner == tenant)
        return next((session for session, one in held if name and one.name == name), None)

    def _too_many(self, tenant: str, limits: SessionLimits) -> bool:
        own = sum(held.nbytes for (owner, _), held in self._held.items() if owner == tenant)
        return own > limits.nbytes or sum(held.nbytes for held in self._held.values()) > self.budget
