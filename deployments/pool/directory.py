"""The embeddings that a shard knows and their bytes: entries by recency, under a budget.

No waiting, no Ray: every method is a step of `pool.states` and its bookkeeping. Time is what `clock` says.
"""

import itertools
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, Literal

from deployments.config import Budget
from deployments.keys import ImageKey
from deployments.pool.states import Entry, State
from deployments.pool.tier_usage import TierUsage
from sam3_engine.types import ImageSize

Reason = Literal["budget", "idle", "lost", "deleted"]
"""The reason why an embedding left."""


class Directory:
    """The entries of one shard. The most recently used embedding stays even when it alone exceeds the
    budget."""

    def __init__(
        self,
        budget: Budget,
        on_evicted: Callable[[Reason], None] = lambda reason: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.budget = budget
        self.warm: TierUsage[ImageKey] = TierUsage()
        self.quotas: dict[str, int] = {}
        """Most bytes of a tenant; a tenant that is not named has no limit of its own."""
        self._entries: OrderedDict[ImageKey, Entry] = OrderedDict()
        """Least recently used first."""
        self._models: dict[tuple[str, str], set[str]] = {}
        """The models that an image (tenant, digest) is known under."""
        self._generations = itertools.count(1)
        self._on_evicted = on_evicted
        self._clock = clock

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: ImageKey) -> bool:
        return key in self._entries

    def get(self, key: ImageKey) -> Entry | None:
        """The entry, now the most recently used one; None when the key is absent."""
        entry = self._entries.get(key)
        if entry is not None:
            entry.used = self._clock()
            self._entries.move_to_end(key)
            self.warm.touch(key)
        return entry

    def start(self, key: ImageKey, size: ImageSize, born: int) -> Entry:
        """absent -> ENCODING, as a new generation. born: see `deployments.store.deletions`."""
        entry = Entry(size=size, generation=next(self._generations), born=born, used=self._clock())
        self._entries[key] = entry
        self._models.setdefault((key.tenant, key.digest), set()).add(key.model)
        return entry

    def finish(self, key: ImageKey, generation: int, reference: Any, nbytes: int) -> bool:
        """ENCODING -> READY. False, and nothing done, when the entry has moved on or was deleted
        meanwhile."""
        entry = self._current(key, generation, State.ENCODING)
        if entry is None:
            return False
        entry.ready(reference, nbytes)
        self.get(key)
        self.warm.add(key, nbytes)
        self._shrink(keep=key)
        return True

    def fail(self, key: ImageKey, generation: int) -> None:
        """ENCODING -> absent."""
        if self._current(key, generation, State.ENCODING):
            self._remove(key)

    def lose(self, key: ImageKey, generation: int) -> bool:
        """READY -> absent, on a reader's report about that generation. False when it is old news."""
        entry = self._current(key, generation, State.READY)
        if entry is not None:
            self._remove(key, "lost")
        return entry is not None

    def delete(self, tenant: str, digest: str, stamp: int) -> bool:
        """Any state -> absent, for an image that was born no later than `stamp`. Returns True if there was one.

        A running encode goes on, but its result will find no entry.
        """
        keys = [ImageKey(tenant, model, digest) for model in self._models.get((tenant, digest), ())]
        old = [key for key in keys if self._entries[key].born <= stamp]
        for key in old:
            self._remove(key, "deleted")
        return bool(old)

    def sweep(self) -> None:
        """Forget embeddings that were not asked for within the idle time. Running encodes are left alone."""
        limit = self._clock() - self.budget.idle_ttl_s
        idle = itertools.takewhile(lambda item: item[1].used < limit, self._entries.items())
        for key in [key for key, entry in idle if entry.state is not State.ENCODING]:
            self._remove(key, "idle")

    def resize(self, budget: Budget) -> None:
        """Take on another budget, at once."""
        self.budget = budget
        self._shrink()

    def items(self, tenant: str | None = None) -> Iterator[tuple[ImageKey, Entry]]:
        """The entries (of a tenant), most recently used first."""
        for key in reversed(self._entries):
            if tenant is None or key.tenant == tenant:
                yield key, self._entries[key]

    def _current(self, key: ImageKey, generation: int, state: State) -> Entry | None:
        entry = self._entries.get(key)
        return entry if entry and entry.generation == generation and entry.state is state else None

    def _shrink(self, keep: ImageKey | None = None) -> None:
        while key := self.warm.next_to_leave(self.budget.warm_bytes, self.quotas.get, keep):
            self._remove(key, "budget")

    def _remove(self, key: ImageKey, reason: Reason | None = None) -> None:
        """Out of the directory, which is reported for an embedding where there is a reason."""
        del self._entries[key]
        models = self._models[key.tenant, key.digest]
        models.discard(key.model)
        if not models:
            del self._models[key.tenant, key.digest]
        if key in self.warm:
            self.warm.remove(key)
            if reason:
                self._on_evicted(reason)
