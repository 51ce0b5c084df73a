"""Which images a shard knows, and what they cost: entries by recency, under a budget of bytes for each tier.

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

Tier = Literal["warm", "cold"]
Reason = Literal["budget", "idle", "lost", "deleted"]
"""Why an embedding or a source image left its tier."""


class Directory:
    """The entries of one shard. The most recently used embedding stays even when it alone exceeds the
    budget."""

    def __init__(
        self,
        budget: Budget,
        on_evicted: Callable[[Reason, Tier], None] = lambda reason, tier: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.budget = budget
        self.warm = TierUsage()
        self.cold = TierUsage()
        self.quotas: dict[str, int] = {}
        """Most bytes of a tenant in either tier; a tenant that is not named has no limit of its own."""
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
            self.cold.touch(key)
        return entry

    def peek(self, key: ImageKey) -> Entry | None:
        """The entry; its recency stays."""
        return self._entries.get(key)

    def under_another_model(self, key: ImageKey) -> Entry | None:
        """An entry of the same image that holds its source."""
        models = self._models.get((key.tenant, key.digest), ())
        entries = (self._entries[ImageKey(key.tenant, model, key.digest)] for model in models)
        return next((entry for entry in entries if entry.source is not None), None)

    def knows(self, tenant: str, digest: str) -> bool:
        """Whether an image is here, under any model."""
        return (tenant, digest) in self._models

    def touch(self, tenant: str, digest: str) -> None:
        """Somebody asked for the image elsewhere."""
        for model in self._models.get((tenant, digest), ()):
            self.get(ImageKey(tenant, model, digest))

    def start(
        self, key: ImageKey, size: ImageSize, source: bytes | None = None, received: float = 0.0
    ) -> Entry:
        """absent, EVICTED or LOST -> ENCODING, as a new generation. `source` is kept for the next time."""
        entry = self.get(key)
        if entry is None:
            entry = self._new(key, size, State.ENCODING)
        else:
            entry.encode_again(next(self._generations))
        entry.received = max(entry.received, received)
        self._keep_source(key, entry, source)
        return entry

    def keep(self, key: ImageKey, size: ImageSize, source: bytes, received: float) -> None:
        """Hold a source without an embedding: absent -> EVICTED; in any other state it is only added."""
        entry = self._entries.get(key) or self._new(key, size, State.EVICTED)
        entry.received = max(entry.received, received)
        self._keep_source(key, entry, source)
        self._forget_if_empty(key, entry)

    def finish(self, key: ImageKey, generation: int, reference: Any, nbytes: int) -> bool:
        """ENCODING -> READY. False, and nothing done, when the entry has moved on or was deleted
        meanwhile."""
        entry = self._current(key, generation, State.ENCODING)
        if entry is None:
            return False
        entry.ready(reference, nbytes)
        self.get(key)
        self.warm.add(key, nbytes)
        self._shrink_warm(keep=key)
        return True

    def fail(self, key: ImageKey, generation: int) -> None:
        """ENCODING -> EVICTED or absent."""
        entry = self._current(key, generation, State.ENCODING)
        if entry is not None:
            entry.failed()
            self._forget_if_empty(key, entry)

    def lose(self, key: ImageKey, generation: int) -> bool:
        """READY -> LOST (or absent), on a reader's report about that generation. False when it is old
        news."""
        entry = self._current(key, generation, State.READY)
        if entry is None:
            return False
        entry.lose()
        self.warm.remove(key)
        self._on_evicted("lost", "warm")
        self._forget_if_empty(key, entry)
        return True

    def delete(self, tenant: str, digest: str, at: float = float("inf")) -> bool:
        """Any state -> absent, for an image that no request received after `at` (wall time) has brought.
        Whether there was one. A running encode goes on, but its result will find no entry."""
        keys = [ImageKey(tenant, model, digest) for model in self._models.get((tenant, digest), ())]
        old = [key for key in keys if self._entries[key].received <= at]
        for key in old:
            self._remove(key, "deleted")
        return bool(old)

    def sweep(self) -> None:
        """Forget what was not asked for within the idle time; running encodes are left alone."""
        limit = self._clock() - self.budget.idle_ttl_s
        idle = itertools.takewhile(lambda item: item[1].used < limit, self._entries.items())
        for key in [key for key, entry in idle if entry.state is not State.ENCODING]:
            self._remove(key, "idle")

    def resize(self, budget: Budget) -> None:
        """Take on another budget, at once."""
        self.budget = budget
        self._shrink_warm()
        self._shrink_cold()

    def items(self, tenant: str | None = None) -> Iterator[tuple[ImageKey, Entry]]:
        """The entries (of a tenant), most recently used first."""
        for key in reversed(self._entries):
            if tenant is None or key.tenant == tenant:
                yield key, self._entries[key]

    def _new(self, key: ImageKey, size: ImageSize, state: State) -> Entry:
        now = self._clock()
        entry = Entry(size=size, generation=next(self._generations), state=state, created=now, used=now)
        self._entries[key] = entry
        self._models.setdefault((key.tenant, key.digest), set()).add(key.model)
        return entry

    def _current(self, key: ImageKey, generation: int, state: State) -> Entry | None:
        entry = self._entries.get(key)
        return entry if entry and entry.generation == generation and entry.state is state else None

    def _keep_source(self, key: ImageKey, entry: Entry, source: bytes | None) -> None:
        if source is None or entry.source is not None or len(source) > self.budget.cold_bytes:
            return
        entry.source = source
        self.cold.add(key, len(source))
        self._shrink_cold()

    def _shrink_warm(self, keep: ImageKey | None = None) -> None:
        while key := self.warm.next_to_leave(self.budget.warm_bytes, self.quotas.get, keep):
            self._entries[key].evict()
            self.warm.remove(key)
            self._on_evicted("budget", "warm")
            self._forget_if_empty(key, self._entries[key])

    def _shrink_cold(self) -> None:
        while key := self.cold.next_to_leave(self.budget.cold_bytes, self.quotas.get):
            self._entries[key].source = None
            self.cold.remove(key)
            self._on_evicted("budget", "cold")
            self._forget_if_empty(key, self._entries[key])

    def _forget_if_empty(self, key: ImageKey, entry: Entry) -> None:
        known = self._entries.get(key) is entry
        if known and entry.source is None and entry.state in (State.EVICTED, State.LOST):
            self._remove(key)

    def _remove(self, key: ImageKey, reason: Reason | None = None) -> None:
        """Out of every tier, which is reported where there is a reason."""
        del self._entries[key]
        models = self._models[key.tenant, key.digest]
        models.discard(key.model)
        if not models:
            del self._models[key.tenant, key.digest]
        tiers: tuple[tuple[Tier, TierUsage], ...] = (("warm", self.warm), ("cold", self.cold))
        for tier, usage in tiers:
            if key in usage:
                usage.remove(key)
                if reason:
                    self._on_evicted(reason, tier)
