"""The pool's behaviour: single flight, and the answers to callers. No Ray: `encode` is handed in."""

import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from deployments.config import Budget
from deployments.keys import ImageKey
from deployments.messages import Ensured, PixelsLost, Source, Square, Warm
from deployments.observe.metrics import NAMES, Metrics
from deployments.pool.directory import Directory
from deployments.pool.states import Entry, State
from deployments.protocol import CacheTier
from deployments.single_flight import SingleFlight
from deployments.store.deletions import Deletions
from deployments.store.protocol import KeptFile, Store

Encode = Callable[[Square | Source], Awaitable[tuple[Any, int]]]
"""Encodes one image; gives the reference to its embedding, which the caller then owns, and its bytes."""


class PoolBusy(Exception):
    """Too many images wait to be encoded."""


class EmbeddingPool:
    """One shard. Every method may be called concurrently on one event loop.

    `born` is a stamp of the store's clock, no later than the image became known there: see `store.deletions`.
    """

    def __init__(
        self,
        encode: Encode,
        store: Store,
        budget: Budget,
        metrics: Metrics,
        max_encodes: int = 256,
    ) -> None:
        self.max_encodes = max_encodes
        self.directory = Directory(budget, self._evicted)
        self.since = math.inf
        """The stamp of the store's clock from which this shard hears of deletions. It asks the store about older
        images."""
        self._deletions = Deletions()
        self._encode = encode
        self._store = store
        self._metrics = metrics
        self._flights: SingleFlight[Warm] = SingleFlight()
        """Encodes under way, by key and generation."""
        self._frames = 0
        """Frames of videos that are encoded now."""
        self._reads: SingleFlight[KeptFile | None] = SingleFlight()
        """Files on their way from the store."""

    def resize(self, budget: Budget, max_encodes: int) -> None:
        """Take on other limits, at once."""
        self.max_encodes = max_encodes
        self.directory.resize(budget)

    def change_store(self, store: Store) -> None:
        """Read files from another store from now on."""
        self._store = store

    async def lookup(self, key: ImageKey, deadline: float | None = None) -> tuple[Warm, CacheTier] | None:
        """The embedding of a known image: held (warm), being encoded (joined), or made again from its file (cold). None
        for an image that has to be sent. Raises PoolBusy, StoreAway, or what encoding raises."""
        if found := await self._held(key):
            return found
        file = await self._reads.run(key, partial(self._store.file, key.tenant, key.digest))
        if found := await self._held(key):  # another caller was faster
            return found
        if file is None or not await self._still_there(key, file.born):
            return None
        if found := await self._held(key):
            return found
        return await self._fly(key, _again(key, file, deadline), file.born), "cold"

    async def ensure(self, key: ImageKey, square: Square, born: int, quota: int | None = None) -> Ensured:
        """Have an image encoded, once however many callers ask meanwhile. Raises PoolBusy, StoreAway, or the encoder's
        error: the same to all callers who waited, and the next caller tries again. quota: most bytes of this tenant
        in this shard from now on; None: as before."""
        started = time.monotonic()
        if quota is not None:
            self.directory.quotas[key.tenant] = quota
        if not await self._still_there(key, born):
            reference, _ = await self._encode(square)  # for this answer alone
            return Ensured(Warm([reference], square.size, 0, born), "miss", time.monotonic() - started)
        found = await self._held(key)
        warm, tier = found or (await self._fly(key, square, born), "miss")
        return Ensured(warm, tier, time.monotonic() - started)

    async def encode_frame(self, square: Square) -> list[Any]:
        """The reference to a frame's embedding, nested, for the caller alone: the pool forgets it, so that frames push
        out no images. Raises PoolBusy, or what encoding raises."""
        if len(self._flights) + self._frames >= self.max_encodes:
            raise PoolBusy
        self._frames += 1
        try:
            reference, _ = await self._encode(square)
        finally:
            self._frames -= 1
        self._metrics.add(NAMES.images_encoded, 1, cause="frame")
        return [reference]

    def lost(self, key: ImageKey, generation: int) -> None:
        """A reader could not get this embedding: it counts as lost, unless it has been made anew since."""
        self.directory.lose(key, generation)

    def delete(self, tenant: str, digest: str, stamp: int) -> bool:
        """Forget an image's embeddings, unless it was born after the deletion. Returns True if there were any."""
        self._deletions.record(tenant, digest, stamp)
        return self.directory.delete(tenant, digest, stamp)

    def embeddings(self, tenant: str) -> dict[str, int]:
        """Bytes of a tenant's embeddings by digest, of all models together."""
        total: Counter[str] = Counter()
        for key, entry in self.directory.items(tenant):
            if entry.nbytes:
                total[key.digest] += entry.nbytes
        return dict(total)

    def sweep(self) -> None:
        """Forget embeddings that were idle too long, and report the figures."""
        self.directory.sweep()
        self._metrics.set(NAMES.pool_entries, len(self.directory.warm), tier="warm")
        self._metrics.set(NAMES.pool_bytes, self.directory.warm.used, tier="warm")

    async def _held(self, key: ImageKey) -> tuple[Warm, CacheTier] | None:
        """The embedding that is here, or will be."""
        entry = self.directory.get(key)
        match entry:
            case Entry(state=State.READY):
                return Warm([entry.reference], entry.size, entry.generation, entry.born), "warm"
            case Entry(state=State.ENCODING):
                flight = self._flights.join((key, entry.generation))
                return await self._waited_for(key, entry, flight), "joined"
            case _:
                return None

    async def _still_there(self, key: ImageKey, born: int) -> bool:
        """True for an image that was not deleted since it was born.

        A shard does not know of deletions before its own start, so it asks the store about an image that is older.
        """
        if self._deletions.cover(key.tenant, key.digest, born):
            return False
        return born >= self.since or await self._store.born(key.tenant, key.digest) is not None

    async def _fly(self, key: ImageKey, image: Square | Source, born: int) -> Warm:
        """Start the encode that everybody else will join."""
        if len(self._flights) + self._frames >= self.max_encodes:
            raise PoolBusy
        entry = self.directory.start(key, image.size, born)
        work = partial(self._run, key, entry.generation, image, born)
        return await self._waited_for(key, entry, self._flights.run((key, entry.generation), work))

    async def _waited_for(self, key: ImageKey, entry: Entry, flight: Awaitable[Warm]) -> Warm:
        """An encode goes on when one of its callers leaves, and ends when all have left."""
        generation = entry.generation
        try:
            return await flight
        finally:
            if (key, generation) not in self._flights:
                self.directory.fail(key, generation)  # nobody may join it; nothing, once it is done

    async def _run(self, key: ImageKey, generation: int, image: Square | Source, born: int) -> Warm:
        try:
            reference, nbytes = await self._encode_or_again(key, image)
        except BaseException:
            self.directory.fail(key, generation)
            raise
        # A deleted entry does not come back, but callers from before the deletion still get their answer.
        self.directory.finish(key, generation, reference, nbytes)
        self._metrics.add(NAMES.images_encoded, 1, cause="new" if isinstance(image, Square) else "again")
        return Warm([reference], image.size, generation, born)

    async def _encode_or_again(self, key: ImageKey, image: Square | Source) -> tuple[Any, int]:
        """Pixels belong to the ingress that brought them. When it dies its requests are repeated by another one,
        and join this encode: it goes on from the file."""
        try:
            return await self._encode(image)
        except PixelsLost:
            file = await self._store.file(key.tenant, key.digest)
            if file is None:
                raise
            return await self._encode(_again(key, file, image.deadline))

    def _evicted(self, reason: str) -> None:
        self._metrics.add(NAMES.evictions, 1, reason=reason, tier="warm")


def _again(key: ImageKey, file: KeptFile, deadline: float | None) -> Source:
    """An image to be encoded from its file."""
    return Source(file.content, model=key.model, size=file.size, deadline=deadline, encoder=key.encoder)
