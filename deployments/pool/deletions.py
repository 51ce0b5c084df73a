"""Deletions that requests under way must not undo.

A deletion removes what was there when it came, but requests that came before it may still be on their way to
store what it removed: a running encode, a reply, a copy between shards. Each brings the time at which the
ingress received it; what was received no later than the deletion is not stored again. (Ingresses compare
their clocks here, so these have to agree to milliseconds, as NTP keeps them.) Sending the image again
afterwards stores it as a new one.
"""

import time
from collections.abc import Callable

KEPT_S = 900.0
"""Longer than any request that was under way lives."""

TenantDigest = tuple[str, str]
"""An image of a tenant, under any model."""


class Deletions:
    """The deletions of the last minutes. `clock`: wall time, as `received` is."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._at: dict[TenantDigest, float] = {}
        """Oldest record first."""
        self._sent_again: set[TenantDigest] = set()

    def __len__(self) -> int:
        return len(self._at)

    def record(self, tenant: str, digest: str, at: float) -> None:
        """The image was deleted at `at` (wall time)."""
        if at > self._at.get((tenant, digest), 0.0):
            self._at.pop((tenant, digest), None)
            self._at[tenant, digest] = at
            self._sent_again.discard((tenant, digest))
        self._expire()

    def cover(self, tenant: str, digest: str, received: float) -> bool:
        """Whether what a request received at that time brings is not to be stored any more."""
        at = self._at.get((tenant, digest))
        return at is not None and received <= at

    def sent_again(self, tenant: str, digest: str, received: float) -> None:
        """The tenant sent the image after deleting it."""
        if (tenant, digest) in self._at and not self.cover(tenant, digest, received):
            self._sent_again.add((tenant, digest))

    def deleted(self, tenant: str, digest: str) -> bool:
        """Whether the image was deleted and not sent since."""
        return (tenant, digest) in self._at and (tenant, digest) not in self._sent_again

    def items(self) -> list[tuple[TenantDigest, float, bool]]:
        """What another shard needs to know, too: image, time, and whether it was sent again since."""
        return [(image, at, image in self._sent_again) for image, at in self._at.items()]

    def _expire(self) -> None:
        limit = self._clock() - KEPT_S
        while self._at and (oldest := next(iter(self._at.items())))[1] < limit:
            del self._at[oldest[0]]
            self._sent_again.discard(oldest[0])
