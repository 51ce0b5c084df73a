"""The hot tier: a process's own recently used values, under a budget of bytes. Used from one event loop.

Beyond the budget the tenant that holds most gives first, its least recently used value at a time.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Generic, Literal, Protocol, TypeVar

from deployments.pool.tier_usage import OfTenant, TierUsage

Reason = Literal["budget", "idle", "deleted"]


class Weighed(Protocol):
    """A value that knows its bytes, which may grow while it is held."""

    @property
    def nbytes(self) -> int:
        """Bytes held now."""
        ...


Key = TypeVar("Key", bound=OfTenant)
Value = TypeVar("Value", bound=Weighed)


class HotCache(Generic[Key, Value]):
    """Values by key. The newest stays even when it alone exceeds the budget."""

    def __init__(
        self,
        budget: int,
        idle_ttl_s: float = float("inf"),
        clock: Callable[[], float] = time.monotonic,
        on_evicted: Callable[[Reason], None] = lambda reason: None,
    ) -> None:
        self.budget = budget
        self._usage: TierUsage[Key] = TierUsage()
        self._idle_ttl_s = idle_ttl_s
        self._clock = clock
        self._on_evicted = on_evicted
        self._held: OrderedDict[Key, tuple[Value, float]] = OrderedDict()
        """Value, and when it was last used; least recently used first."""

    @property
    def used(self) -> int:
        """Bytes of all values, when each was last weighed."""
        return self._usage.used

    def held_by(self, tenant: str) -> int:
        """Bytes of one tenant's values."""
        return self._usage.held_by(tenant)

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Key]:
        return iter(tuple(self._held))

    def get(self, key: Key) -> Value | None:
        """The value, now the most recently used one."""
        self.drop_idle()
        found = self._held.get(key)
        if found is None:
            return None
        self._held[key] = (found[0], self._clock())
        self._held.move_to_end(key)
        self._usage.touch(key)
        return found[0]

    def put(self, key: Key, value: Value) -> None:
        """Hold a value, or weigh it again."""
        self.discard(key)
        self._held[key] = (value, self._clock())
        self._usage.add(key, value.nbytes)
        while self.used > self.budget and (leaves := self._usage.next_to_leave(self.budget, _no_quota, key)):
            self.discard(leaves, "budget")

    def discard(self, key: Key, reason: Reason | None = None) -> bool:
        """Let a value go. Returns True if it was held."""
        found = self._held.pop(key, None)
        if found is None:
            return False
        self._usage.remove(key)
        if reason:
            self._on_evicted(reason)
        return True

    def drop_idle(self) -> None:
        """Let go values that were not used within the idle time."""
        limit = self._clock() - self._idle_ttl_s
        while self._held and next(iter(self._held.values()))[1] < limit:
            self.discard(next(iter(self._held)), "idle")


def _no_quota(_tenant: str) -> int | None:
    return None
