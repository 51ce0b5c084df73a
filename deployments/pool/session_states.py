"""States of videos' sessions that outlive decoders: one block of bytes for each session, the newest, under a budget.

A state may always be lost: a decoder then goes on from the session's record in the store, with the same ids.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from deployments.pool.tier_usage import TierUsage


@dataclass(frozen=True, slots=True)
class SessionName:
    """One tenant's session."""

    tenant: str
    session: str


@dataclass(slots=True)
class _Held:
    revision: str
    reference: Any
    used: float


class SessionStates:
    """The states of one shard. budget: bytes; beyond it the tenant that holds most loses its least recently used one.
    idle_s: how long a state is held that nobody asks for."""

    def __init__(self, budget: int, idle_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.budget = budget
        self.idle_s = idle_s
        self._clock = clock
        self._usage: TierUsage[SessionName] = TierUsage()
        self._held: dict[SessionName, _Held] = {}

    @property
    def used(self) -> int:
        """Bytes of all states."""
        return self._usage.used

    def keep(self, name: SessionName, revision: str, reference: Any, nbytes: int) -> None:
        """Hold a session's newest state instead of the one before. One that alone exceeds the budget is not held."""
        self.drop(name)
        if nbytes > self.budget:
            return
        self._held[name] = _Held(revision, reference, self._clock())
        self._usage.add(name, nbytes)
        while leaves := self._usage.next_to_leave(self.budget, lambda _: None, name):
            self.drop(leaves)

    def find(self, name: SessionName) -> tuple[str, list[Any]] | None:
        """Revision and reference, nested, of a session's state."""
        held = self._held.get(name)
        if held is None:
            return None
        held.used = self._clock()
        self._usage.touch(name)
        return held.revision, [held.reference]

    def drop(self, name: SessionName) -> bool:
        """Let a state go. Whether there was one."""
        self._usage.remove(name)
        return self._held.pop(name, None) is not None

    def sweep(self) -> None:
        """Let go what nobody asked for within the idle time."""
        limit = self._clock() - self.idle_s
        for name in [name for name, held in self._held.items() if held.used < limit]:
            self.drop(name)
