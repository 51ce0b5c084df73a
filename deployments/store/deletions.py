"""Remembers, in one process, which images were deleted: work that was under way then stores nothing of them.

An embedding carries its image's `born` and a deletion its `stamp`, both of the store's clock. An image that was born no
later than the deletion is not stored any more. An image that is sent again is born again, after the deletion. A new
image is encoded while the store notes it, so its embedding carries a somewhat earlier stamp: `Store.earliest`. Where a
deletion lies between the two, the embedding is not kept, and is made once more.
"""

import time
from collections.abc import Callable

from deployments.store.protocol import TenantDigest

KEPT_S = 900.0
"""Longer than any request lives."""


class Deletions:
    """The deletions of the last minutes. `clock`: seconds of this process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stamps: dict[TenantDigest, tuple[int, float]] = {}
        """The stamp, and when this process heard of it; oldest first."""

    def record(self, tenant: str, digest: str, stamp: int) -> None:
        """The image was deleted."""
        known, _ = self._stamps.pop((tenant, digest), (0, 0.0))
        self._stamps[tenant, digest] = max(known, stamp), self._clock()
        limit = self._clock() - KEPT_S
        while (oldest := next(iter(self._stamps.items())))[1][1] < limit:
            del self._stamps[oldest[0]]

    def cover(self, tenant: str, digest: str, born: int) -> bool:
        """True for an image that was deleted after it was born. born: its stamp of the store's clock."""
        return born <= self._stamps.get((tenant, digest), (-1, 0.0))[0]
