"""The store's part for sessions of videos, which must survive any process. Each method is one atomic step. No client of
a server.

A session's record is replaced only where it is still the one that the caller has read: so of two requests that go on
from one frame, one counts. Answers of the last frames are kept beside it, and the picture of the last one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """What one tenant may have: open sessions, and bytes of all of them."""

    sessions: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class KeptRecord:
    """A session's record, and which one of them it is."""

    revision: str
    record: bytes


class Committed(Enum):
    """How a change of a session ended."""

    DONE = "done"
    OTHER = "other"
    """Another request was faster: the session is not as the caller has read it."""
    GONE = "gone"
    """There is no such session any more."""


class SessionsFull(Exception):
    """The tenant has as many sessions as it may have, or they take as many bytes."""


class SessionStore(Protocol):
    """Sessions of all tenants. A session that nobody asks for within the idle time ends. Every method raises StoreAway
    where no server answers or it refuses the step."""

    async def open(
        self, tenant: str, session: str, kept: KeptRecord, file: bytes, limits: SessionLimits, name: str = ""
    ) -> str | None:
        """Begin a session. file: of its video; empty where frames come one by one. name: by which it can be found. The
        tenant's session that had the name ends, and its id is returned. Raises SessionsFull."""
        ...

    async def named(self, tenant: str, name: str) -> tuple[str, bytes] | None:
        """Id and note of the session that has a name; None where no session has it."""
        ...

    async def note(self, tenant: str, session: str, note: bytes) -> bool:
        """Keep what the session's client says of it, in place of what it said before. Whether there is the session."""
        ...

    async def load(self, tenant: str, session: str) -> KeptRecord | None:
        """A session's record; None where there is no such session."""
        ...

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
        """Replace the record whose revision is `base`. answers: of frames, by number; those of frames before `oldest`
        are dropped. picture: the file of the last frame; empty: the one before stays.

        Beyond the limits the record is kept all the same, without the picture, then without answers.
        """
        ...

    async def answers(self, tenant: str, session: str, frames: Sequence[int]) -> list[bytes | None]:
        """The kept answer of each frame; None where there is none any more."""
        ...

    async def picture(self, tenant: str, session: str) -> bytes | None:
        """The file of the last frame; None where it is not kept."""
        ...

    async def file(self, tenant: str, session: str) -> bytes | None:
        """The file of the session's video; None where there is none."""
        ...

    async def end(self, tenant: str, session: str) -> bool:
        """End a session. Whether there was one."""
        ...

    async def sessions(self, tenant: str) -> list[tuple[str, bytes]]:
        """Id and record of a tenant's sessions, newest first."""
        ...

    async def sweep_sessions(self) -> tuple[int, int]:
        """End what was idle too long. How many sessions there are, and their bytes."""
        ...
