"""The pool's behaviour: single flight, and the answers to those who ask. No Ray: `encode` is handed in."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

from deployments.keys import ImageKey
from deployments.messages import Ensured, Source, Square, Warm
from deployments.metrics import NAMES, Metrics
from deployments.pool.directory import Budget, Directory
from deployments.pool.names import Names
from deployments.pool.states import Entry, State
from deployments.protocol import CacheTier

Encode = Callable[[Square | Source], Awaitable[tuple[Any, int]]]
"""Encodes one image; gives the reference to its embedding, which the caller then owns, and its bytes."""


class PoolBusy(Exception):
    """Too many images wait to be encoded."""


class EmbeddingPool:
    """One shard. Every method may be called concurrently on one event loop."""

    def __init__(
        self,
        encode: Encode,
        budget: Budget,
        metrics: Metrics,
        max_encodes: int = 256,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.max_encodes = max_encodes
        self.directory = Directory(budget, self._evicted, clock)
        self.names = Names(budget.idle_ttl_s, clock=clock)
        self._encode = encode
        self._metrics = metrics
        self._flights: dict[tuple[ImageKey, int], asyncio.Task[Warm]] = {}
        self._waiters: Counter[asyncio.Task[Warm]] = Counter()

    def resize(self, budget: Budget, max_encodes: int) -> None:
        """Take on other limits, at once."""
        self.max_encodes = max_encodes
        self.names.idle_ttl_s = budget.idle_ttl_s
        self.directory.resize(budget)

    def resolve(self, tenant: str, image_id: str, digest: str | None) -> str | None:
        """The digest that an id names. With `digest` the id is bound to it first."""
        if digest is not None:
            self.names.bind(tenant, image_id, digest)
            return digest
        return self.names.resolve(tenant, image_id)

    async def lookup(self, key: ImageKey, deadline: float | None = None) -> tuple[Warm, CacheTier] | None:
        """The embedding of a known image: held (warm), being encoded (joined), or made again from its source
        (cold). None for an image that has to be sent. Raises PoolBusy, or what encoding raises."""
        entry = self.directory.get(key)
        match entry:
            case Entry(state=State.READY):
                return self._warm(entry), "warm"
            case Entry(state=State.ENCODING):
                return await self._join(key, entry), "joined"
            case Entry(source=bytes(source)):
                return await self._fly(key, Source(source, entry.size, deadline)), "cold"
            case _:
                return None

    async def ensure(self, key: ImageKey, square: Square, source: bytes | None) -> Ensured:
        """Have an image encoded, once however many callers ask meanwhile. Raises PoolBusy, or what encoding
        raises: the same to all who waited, and the next caller tries again."""
        started = time.monotonic()
        tier: CacheTier
        match self.directory.get(key):
            case Entry(state=State.READY) as entry:
                warm, tier = self._warm(entry), "warm"
            case Entry(state=State.ENCODING) as entry:
                warm, tier = await self._join(key, entry), "joined"
            case _:
                warm, tier = await self._fly(key, square, source), "miss"
        return Ensured(warm, tier, time.monotonic() - started)

    def lost(self, key: ImageKey, generation: int) -> None:
        """A reader could not get this embedding: it counts as lost, unless it has been made anew since."""
        self.directory.lose(key, generation)

    def delete(self, key: ImageKey) -> bool:
        """Forget an image in every tier of this shard. Whether there was one."""
        return self.directory.delete(key)

    def sweep(self) -> None:
        """Forget what was idle too long; report the figures."""
        self.directory.sweep()
        self.names.sweep()
        for tier, count in self.directory.counts().items():
            self._metrics.set(NAMES.pool_entries, count, tier=tier)
        self._metrics.set(NAMES.pool_bytes, self.directory.warm_used, tier="warm")
        self._metrics.set(NAMES.pool_bytes, self.directory.cold_used, tier="cold")

    async def _fly(self, key: ImageKey, image: Square | Source, source: bytes | None = None) -> Warm:
        """Start the encode that everybody else will join."""
        if len(self._flights) >= self.max_encodes:
            raise PoolBusy
        entry = self.directory.start(key, image.size, source)
        flight = asyncio.create_task(self._run(key, entry.generation, image))
        self._flights[key, entry.generation] = flight
        flight.add_done_callback(lambda done: self._landed(key, entry.generation, done))
        return await self._join(key, entry)

    async def _join(self, key: ImageKey, entry: Entry) -> Warm:
        """The result of an encode. It goes on when one of its callers leaves, and ends when all have left."""
        generation = entry.generation
        flight = self._flights[key, generation]
        self._waiters[flight] += 1
        try:
            return await asyncio.shield(flight)
        finally:
            self._waiters[flight] -= 1
            if not self._waiters[flight]:
                del self._waiters[flight]
                self.directory.fail(key, generation)  # nobody joins it any more
                flight.cancel()  # nothing, like the line before, once it is done

    async def _run(self, key: ImageKey, generation: int, image: Square | Source) -> Warm:
        try:
            reference, nbytes = await self._encode(image)
        except BaseException:
            self.directory.fail(key, generation)
            raise
        # A deleted entry does not come back, but those who asked before the deletion still get their answer.
        self.directory.finish(key, generation, reference, nbytes)
        self._metrics.add(NAMES.images_encoded, 1, cause="new" if isinstance(image, Square) else "again")
        return Warm([reference], image.size, generation)

    def _landed(self, key: ImageKey, generation: int, flight: asyncio.Task[Warm]) -> None:
        del self._flights[key, generation]
        if not flight.cancelled():
            flight.exception()  # all who waited may have left: then nobody else looks at it

    def _warm(self, entry: Entry) -> Warm:
        return Warm([entry.reference], entry.size, entry.generation)

    def _evicted(self, reason: str, count: int) -> None:
        self._metrics.add(NAMES.evictions, count, reason=reason)
