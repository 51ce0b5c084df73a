"""Which images a shard knows, and what they cost: entries by recency, under a budget of bytes for each tier.

No waiting, no Ray: every method is a step of `pool.states` and its bookkeeping. Time is what `clock` says.
"""

import itertools
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from deployments.keys import ImageKey
from deployments.pool.states import Entry, State
from sam3_engine.types import ImageSize

Reason = Literal["budget", "idle", "lost", "deleted"]
"""Why an embedding or a source image left its tier."""


@dataclass(frozen=True, slots=True)
class Budget:
    """Bytes that one shard may hold, and how long it holds what nobody asks for."""

    warm_bytes: int
    """Embeddings in the object store."""
    cold_bytes: int
    """Source images in this process."""
    idle_ttl_s: float


class Directory:
    """The entries of one shard. The most recently used embedding stays even when it alone exceeds the
    budget."""

    def __init__(
        self,
        budget: Budget,
        on_evicted: Callable[[Reason, int], None] = lambda reason, count: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.budget = budget
        self.warm_used = 0
        self.cold_used = 0
        self._entries: OrderedDict[ImageKey, Entry] = OrderedDict()
        """Least recently used first."""
        self._generations = itertools.count(1)
        self._on_evicted = on_evicted
        self._clock = clock

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: ImageKey) -> Entry | None:
        """The entry, now the most recently used one; None when the key is absent."""
        entry = self._entries.get(key)
        if entry is not None:
            entry.used = self._clock()
            self._entries.move_to_end(key)
        return entry

    def start(self, key: ImageKey, size: ImageSize, source: bytes | None = None) -> Entry:
        """absent, EVICTED or LOST -> ENCODING, as a new generation. `source` is kept for the next time."""
        entry = self.get(key)
        now = self._clock()
        if entry is None:
            entry = Entry(size=size, generation=next(self._generations), created=now, used=now)
            self._entries[key] = entry
        else:
            entry.encode_again(next(self._generations))
        if source is not None and entry.source is None and len(source) <= self.budget.cold_bytes:
            entry.source = source
            self.cold_used += len(source)
            self._shrink_cold()
        return entry

    def finish(self, key: ImageKey, generation: int, reference: Any, nbytes: int) -> bool:
        """ENCODING -> READY. False, and nothing done, when the entry has moved on or was deleted
        meanwhile."""
        entry = self._current(key, generation, State.ENCODING)
        if entry is None:
            return False
        entry.ready(reference, nbytes)
        self.warm_used += nbytes
        self.get(key)
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
        self.warm_used -= entry.nbytes
        entry.lose()
        self._on_evicted("lost", 1)
        self._forget_if_empty(key, entry)
        return True

    def delete(self, key: ImageKey, reason: Reason = "deleted") -> bool:
        """Any state -> absent. A running encode goes on, but its result will find no entry."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return False
        self.warm_used -= entry.nbytes
        self._drop_source(entry)
        self._on_evicted(reason, 1)
        return True

    def sweep(self) -> None:
        """Forget what was not asked for within the idle time; running encodes are left alone."""
        limit = self._clock() - self.budget.idle_ttl_s
        idle = itertools.takewhile(lambda item: item[1].used < limit, self._entries.items())
        for key in [key for key, entry in idle if entry.state is not State.ENCODING]:
            self.delete(key, "idle")

    def resize(self, budget: Budget) -> None:
        """Take on another budget, at once."""
        self.budget = budget
        self._shrink_warm()
        self._shrink_cold()

    def counts(self) -> dict[str, int]:
        """Entries by tier: warm (an embedding is held), cold (a source image is held)."""
        entries = self._entries.values()
        return {
            "warm": sum(entry.state is State.READY for entry in entries),
            "cold": sum(entry.source is not None for entry in entries),
        }

    def _current(self, key: ImageKey, generation: int, state: State) -> Entry | None:
        entry = self._entries.get(key)
        return entry if entry and entry.generation == generation and entry.state is state else None

    def _shrink_warm(self, keep: ImageKey | None = None) -> None:
        for key, entry in list(self._entries.items()) if self.warm_used > self.budget.warm_bytes else ():
            if self.warm_used <= self.budget.warm_bytes:
                break
            if entry.state is State.READY and key != keep:
                self.warm_used -= entry.nbytes
                entry.evict()
                self._on_evicted("budget", 1)
                self._forget_if_empty(key, entry)

    def _shrink_cold(self) -> None:
        for key, entry in list(self._entries.items()) if self.cold_used > self.budget.cold_bytes else ():
            if self.cold_used <= self.budget.cold_bytes:
                break
            self._drop_source(entry)
            self._forget_if_empty(key, entry)

    def _drop_source(self, entry: Entry) -> None:
        if entry.source is not None:
            self.cold_used -= len(entry.source)
            entry.source = None

    def _forget_if_empty(self, key: ImageKey, entry: Entry) -> None:
        if entry.source is None and entry.state in (State.EVICTED, State.LOST):
            del self._entries[key]
