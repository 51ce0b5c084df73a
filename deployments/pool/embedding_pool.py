"""The pool's behaviour: single flight, and the answers to callers. No Ray: `encode` is handed in."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from deployments.config import Budget
from deployments.keys import ImageKey
from deployments.messages import Ensured, ImageCopy, NameCopy, PixelsLost, Source, Square, StoredImage, Warm
from deployments.observe.metrics import NAMES, Metrics
from deployments.pool.deletions import Deletions
from deployments.pool.directory import Directory
from deployments.pool.names import Names
from deployments.pool.states import Entry, State
from deployments.protocol import CacheTier
from deployments.single_flight import SingleFlight
from sam3_engine.types import ImageSize

Encode = Callable[[Square | Source], Awaitable[tuple[Any, int]]]
"""Encodes one image; gives the reference to its embedding, which the caller then owns, and its bytes."""
Copy = Callable[[NameCopy | ImageCopy], Awaitable[None]]
"""Has another shard hold a copy; waits for it a little, and never fails."""


class PoolBusy(Exception):
    """Too many images wait to be encoded."""


async def no_copy(copy: NameCopy | ImageCopy) -> None:
    """For a shard without neighbours."""


class EmbeddingPool:
    """One shard. Every method may be called concurrently on one event loop.

    `received` is the wall time at which the ingress received a request: see `pool.deletions`.
    """

    def __init__(
        self,
        encode: Encode,
        budget: Budget,
        metrics: Metrics,
        max_encodes: int = 256,
        copy: Copy = no_copy,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.max_encodes = max_encodes
        self.directory = Directory(budget, self._evicted, clock)
        self.names = Names(budget.idle_ttl_s, clock=clock)
        self.deletions = Deletions()
        self._encode = encode
        self._copy = copy
        self._clock = clock
        self._metrics = metrics
        self._flights: SingleFlight[Warm] = SingleFlight()
        """Encodes under way, by key and generation."""

    def resize(self, budget: Budget, max_encodes: int) -> None:
        """Take on other limits, at once."""
        self.max_encodes = max_encodes
        self.names.idle_ttl_s = budget.idle_ttl_s
        self.directory.resize(budget)

    async def resolve(
        self, tenant: str, image_id: str, digest: str | None, received: float = float("inf")
    ) -> str | None:
        """The digest that an id names. With `digest` the id is bound to it first."""
        if digest is None:
            found = self.names.resolve(tenant, image_id)
            return None if found and self.deletions.deleted(tenant, found) else found
        if not self.deletions.cover(tenant, digest, received):
            self.deletions.sent_again(tenant, digest, received)
            changed = self.names.bind(tenant, image_id, digest, received)
            if changed:
                await self._copy(NameCopy(tenant, image_id, changed))
        return digest

    async def lookup(self, key: ImageKey, deadline: float | None = None) -> tuple[Warm, CacheTier] | None:
        """The embedding of a known image: held (warm), being encoded (joined), or made again from its source
        (cold), which may have been brought for another model. None for an image that has to be sent. Raises
        PoolBusy, or what encoding raises."""
        entry = self.directory.get(key)
        match entry:
            case Entry(state=State.READY):
                return self._warm(entry), "warm"
            case Entry(state=State.ENCODING):
                return await self._join(key, entry), "joined"
            case Entry(source=bytes(source)):
                return await self._fly(key, _again(key, entry.size, source, deadline)), "cold"
        other = self.directory.under_another_model(key)
        if other is None or other.source is None:
            return None
        image = _again(key, other.size, other.source, deadline)
        return await self._fly(key, image, other.source, other.received), "cold"

    async def ensure(
        self,
        key: ImageKey,
        square: Square,
        source: bytes | None,
        received: float = float("inf"),
        quota: int | None = None,
    ) -> Ensured:
        """Have an image encoded, once however many callers ask meanwhile. Raises PoolBusy, or what encoding
        raises: the same to all who waited, and the next caller tries again. quota: most bytes of this tenant
        in each tier of this shard from now on; None: as before."""
        started = time.monotonic()
        self._set_quota(key.tenant, quota)
        tier: CacheTier
        if self.deletions.cover(key.tenant, key.digest, received):
            reference, _ = await self._encode(square)  # for this answer alone
            return Ensured(Warm([reference], square.size, 0), "miss", time.monotonic() - started)
        self.deletions.sent_again(key.tenant, key.digest, received)
        entry = self.directory.get(key)
        if entry:
            entry.received = max(entry.received, received)
        match entry:
            case Entry(state=State.READY):
                warm, tier = self._warm(entry), "warm"
            case Entry(state=State.ENCODING):
                warm, tier = await self._join(key, entry), "joined"
            case _:
                warm, tier = await self._fly(key, square, source, received), "miss"
        return Ensured(warm, tier, time.monotonic() - started)

    def lost(self, key: ImageKey, generation: int) -> None:
        """A reader could not get this embedding: it counts as lost, unless it has been made anew since."""
        self.directory.lose(key, generation)

    def delete(self, tenant: str, digest: str, at: float) -> bool:
        """Forget an image and its ids, but for what requests received after `at` (wall time) brought.
        Whether there was any."""
        self.deletions.record(tenant, digest, at)
        found = self.directory.delete(tenant, digest, at)
        found |= self.names.forget_image(tenant, digest, at) > 0
        if self.directory.knows(tenant, digest) or self.names.ids_of(tenant, digest):
            self.deletions.sent_again(tenant, digest, float("inf"))
        return found

    def adopt(self, copy: NameCopy | ImageCopy) -> None:
        """Take a copy from another shard, unless it is older than what is here or was deleted since."""
        match copy:
            case NameCopy(tenant, image_id, binding):
                if not self.deletions.cover(tenant, binding.digest, binding.received):
                    self.deletions.sent_again(tenant, binding.digest, binding.received)
                    self.names.adopt(tenant, image_id, binding)
            case ImageCopy(key, size, source, received):
                if not self.deletions.cover(key.tenant, key.digest, received):
                    self.deletions.sent_again(key.tenant, key.digest, received)
                    self.directory.keep(key, size, source, received)

    def images(self, tenant: str) -> list[StoredImage]:
        """What is held of a tenant's images."""
        now = self._clock()
        return [
            StoredImage(
                digest=key.digest,
                size=entry.size,
                source_bytes=len(entry.source or b""),
                embedding_bytes=entry.nbytes,
                age_s=now - entry.created,
            )
            for key, entry in self.directory.items(tenant)
        ]

    def sweep(self) -> None:
        """Forget what was idle too long; report the figures."""
        self.directory.sweep()
        self.names.sweep()
        for tier, usage in (("warm", self.directory.warm), ("cold", self.directory.cold)):
            self._metrics.set(NAMES.pool_entries, len(usage), tier=tier)
            self._metrics.set(NAMES.pool_bytes, usage.used, tier=tier)

    async def _fly(
        self, key: ImageKey, image: Square | Source, source: bytes | None = None, received: float = 0.0
    ) -> Warm:
        """Start the encode that everybody else will join."""
        if len(self._flights) >= self.max_encodes:
            raise PoolBusy
        entry = self.directory.start(key, image.size, source, received)
        work = partial(self._run, key, entry.generation, image, entry.received)
        return await self._waited_for(key, entry, self._flights.run((key, entry.generation), work))

    async def _join(self, key: ImageKey, entry: Entry) -> Warm:
        """The result of an encode that is under way."""
        return await self._waited_for(key, entry, self._flights.join((key, entry.generation)))

    async def _waited_for(self, key: ImageKey, entry: Entry, flight: Awaitable[Warm]) -> Warm:
        """An encode goes on when one of its callers leaves, and ends when all have left."""
        generation = entry.generation
        try:
            return await flight
        finally:
            if (key, generation) not in self._flights:
                self.directory.fail(key, generation)  # nobody may join it; nothing, once it is done

    async def _run(self, key: ImageKey, generation: int, image: Square | Source, received: float) -> Warm:
        copied = asyncio.create_task(self._copy_new(key, image, received))
        try:
            reference, nbytes = await self._encode_or_again(key, image)
        except BaseException:
            copied.cancel()
            self.directory.fail(key, generation)
            raise
        # A deleted entry does not come back, but callers from before the deletion still get their answer.
        self.directory.finish(key, generation, reference, nbytes)
        self._metrics.add(NAMES.images_encoded, 1, cause="new" if isinstance(image, Square) else "again")
        await copied
        return Warm([reference], image.size, generation)

    async def _encode_or_again(self, key: ImageKey, image: Square | Source) -> tuple[Any, int]:
        """Pixels belong to the ingress that brought them. When it dies its requests are repeated by another one,
        and join this encode: it goes on from the source."""
        try:
            return await self._encode(image)
        except PixelsLost:
            entry = self.directory.get(key)
            if entry is None or entry.source is None:
                raise
            return await self._encode(_again(key, image.size, entry.source, image.deadline))

    async def _copy_new(self, key: ImageKey, image: Square | Source, received: float) -> None:
        """While a new image is encoded, another shard takes its source."""
        entry = self.directory.get(key)
        if isinstance(image, Square) and entry and entry.source is not None:
            await self._copy(ImageCopy(key, entry.size, entry.source, received))

    def _set_quota(self, tenant: str, quota: int | None) -> None:
        if quota is not None:
            self.directory.quotas[tenant] = quota

    def _warm(self, entry: Entry) -> Warm:
        return Warm([entry.reference], entry.size, entry.generation)

    def _evicted(self, reason: str, tier: str) -> None:
        self._metrics.add(NAMES.evictions, 1, reason=reason, tier=tier)


def _again(key: ImageKey, size: ImageSize, source: bytes, deadline: float | None) -> Source:
    """An image to be encoded from its file."""
    return Source(source, model=key.model, size=size, deadline=deadline)
