"""How two shards hold what must not be lost: ids and source images. No Ray: the other shards are handed in.

Every id and every image has a home among the shards, and the next shard on the ring holds a copy. Both
behave the same, so when a home does not answer, callers ask the shard with the copy, which encodes from its source
and takes new ids and images meanwhile.

- A change is copied to the other shard before it is answered. A shard that is silent is not waited for.
- A shard that starts asks its neighbours for what it should hold: ids and deletions before it answers
  anybody, then the sources, those that are asked for first.
- What is used is told every few seconds, so that copies of it do not grow old.
- Copies may come late, or twice, or from before a restart. The ids' versions and the record of deletions
  (`pool.deletions`) decide: a copy never brings back an image that was deleted or an id's older image. A
  deletion is told to every shard by its caller, and counts when every shard has confirmed it.
- Embeddings have no copy: they are made again from the source.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from deployments.keys import ImageKey, shards_of
from deployments.messages import ImageCopy, NameCopy
from deployments.pool.deletions import TenantDigest
from deployments.pool.embedding_pool import EmbeddingPool
from deployments.pool.leases import Name
from deployments.single_flight import SingleFlight

COPY_S = 1.0
"""How long a change waits for the shard that copies it."""
HANDOVER_S = 5.0
FETCH_S = 5.0
"""How long a starting shard waits for a neighbour."""


class ShardGone(Exception):
    """Another shard does not answer."""


@dataclass(frozen=True, slots=True)
class Handover:
    """What one shard holds that another one should hold, too. The sources are fetched one by one."""

    names: list[NameCopy]
    images: list[ImageKey]
    """Most recently used first."""
    deletions: list[tuple[TenantDigest, float, bool]]
    """Image, time, and whether it was sent again since."""
    quotas: dict[str, int]


class Peer(Protocol):
    """Another shard. Its methods raise ShardGone."""

    async def adopt(self, copy: NameCopy | ImageCopy) -> None:
        """Hold a copy."""
        ...

    async def handover(self, shard: int) -> Handover:
        """What `shard` should hold of what this one holds."""
        ...

    async def copy_of(self, key: ImageKey) -> ImageCopy | None:
        """A source."""
        ...

    async def used(self, names: list[Name], images: list[TenantDigest]) -> None:
        """Ids and images that were asked for elsewhere."""
        ...


class Replication:
    """One shard's part in this."""

    def __init__(self, pool: EmbeddingPool, shard: int, shards: int, peer: Callable[[int], Peer]) -> None:
        self._pool = pool
        self._shard = shard
        self.shards = shards
        self._peer = peer
        self.silent: set[int] = set()
        """Shards that did not take the last copy in time."""
        self._behind: dict[ImageKey, int] = {}
        """Images whose sources are still to be fetched, and from which shard."""
        self._fetches: SingleFlight[None] = SingleFlight()
        self._used: dict[int, tuple[set[Name], set[TenantDigest]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def idle(self) -> bool:
        """Whether nothing is on its way to another shard, or from it."""
        return not self._tasks

    def is_home(self, tenant: str, name: str) -> bool:
        """Whether this shard is the one that is asked first for an id or a digest."""
        return self._shards_of(tenant, name)[0] == self._shard

    async def send(self, copy: NameCopy | ImageCopy) -> None:
        """Have the other shard take a copy."""
        name = (
            (copy.tenant, copy.image_id) if isinstance(copy, NameCopy) else (copy.key.tenant, copy.key.digest)
        )
        for other in self._others(*name):
            task = self._in_background(self._deliver(other, copy))
            if other not in self.silent:
                await asyncio.wait({task}, timeout=COPY_S)
                if not task.done():
                    self.silent.add(other)

    async def recover(self) -> None:
        """Take over from the neighbours what this shard should hold."""
        neighbours = {(self._shard + step) % self.shards for step in (-1, 1)} - {self._shard}
        await asyncio.gather(*(self._take_over(other) for other in neighbours))
        self._in_background(self._fetch_all())

    async def fetch(self, key: ImageKey) -> None:
        """Get the source of an image, if this shard has not come to it yet."""
        if (other := self._behind.get(key)) is not None:
            await self._fetches.run(key, partial(self._fetch, key, other))

    def handover(self, shard: int) -> Handover:
        """See Peer."""
        pool = self._pool
        return Handover(
            names=[
                NameCopy(tenant, image_id, binding)
                for (tenant, image_id), binding in pool.names.items()
                if shard in self._shards_of(tenant, image_id)
            ],
            images=[
                key
                for key, entry in pool.directory.items()
                if entry.source is not None and shard in self._shards_of(key.tenant, key.digest)
            ],
            deletions=pool.deletions.items(),
            quotas=dict(pool.directory.quotas),
        )

    def copy_of(self, key: ImageKey) -> ImageCopy | None:
        """See Peer."""
        entry = self._pool.directory.peek(key)
        if entry is None or entry.source is None:
            return None
        return ImageCopy(key, entry.size, entry.source, entry.received)

    def note_use(self, tenant: str, image_id: str, digest: str) -> None:
        """An id was resolved here: its copy and the image's shards are told with the next `tell_use`."""
        for other in self._others(tenant, image_id):
            self._used.setdefault(other, (set(), set()))[0].add((tenant, image_id))
        for other in self._shards_of(tenant, digest):
            if other == self._shard:
                self._pool.directory.touch(tenant, digest)
            else:
                self._used.setdefault(other, (set(), set()))[1].add((tenant, digest))

    def tell_use(self) -> None:
        """Tell the other shards what was used since the last time."""
        used, self._used = self._used, {}
        for other in range(self.shards):
            if other != self._shard:
                names, images = used.get(other, ((), ()))
                self._in_background(self._tell(other, list(names), list(images)))

    def take_use(self, names: Iterable[Name], images: Iterable[TenantDigest]) -> None:
        """What another shard tells."""
        for name in names:
            self._pool.names.resolve(*name)
        for image in images:
            self._pool.directory.touch(*image)

    async def _take_over(self, other: int) -> None:
        try:
            async with asyncio.timeout(HANDOVER_S):
                handover = await self._peer(other).handover(self._shard)
        except (ShardGone, TimeoutError):
            return
        for (tenant, digest), at, again in handover.deletions:
            self._pool.delete(tenant, digest, at)
            if again:
                self._pool.deletions.sent_again(tenant, digest, float("inf"))
        for copy in handover.names:
            self._pool.adopt(copy)
        self._pool.directory.quotas = {**handover.quotas, **self._pool.directory.quotas}
        self._behind.update(dict.fromkeys(handover.images, other))

    async def _fetch_all(self) -> None:
        while self._behind:
            await self.fetch(next(iter(self._behind)))

    async def _fetch(self, key: ImageKey, other: int) -> None:
        try:
            async with asyncio.timeout(FETCH_S):
                copy = await self._peer(other).copy_of(key)
        except (ShardGone, TimeoutError):
            copy = None
        if copy:
            self._pool.adopt(copy)
        self._behind.pop(key, None)

    async def _deliver(self, other: int, copy: NameCopy | ImageCopy) -> None:
        try:
            await self._peer(other).adopt(copy)
            self.silent.discard(other)
        except ShardGone:
            self.silent.add(other)

    async def _tell(self, other: int, names: list[Name], images: list[TenantDigest]) -> None:
        try:
            await self._peer(other).used(names, images)
        except ShardGone:
            return

    def _in_background(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _shards_of(self, tenant: str, name: str) -> tuple[int, ...]:
        return shards_of(tenant, name, self.shards)

    def _others(self, tenant: str, name: str) -> list[int]:
        return [shard for shard in self._shards_of(tenant, name) if shard != self._shard]
