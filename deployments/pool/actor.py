"""One shard of the pool as a detached, named Ray actor: it outlives replicas and redeployments of the
application.

It makes the encoder calls itself, so that it owns the embeddings: an encoder that is scaled down takes
nothing with it.
"""

import asyncio
from functools import cache, partial

from deployments.config import PoolConfig
from deployments.keys import ImageKey
from deployments.messages import (
    Ensured,
    ImageCopy,
    NameCopy,
    Named,
    NameQuestion,
    Square,
    StoredImage,
    Warm,
)
from deployments.observe import tracing
from deployments.observe.metrics import NAMES
from deployments.observe.report import ServeMetrics
from deployments.pool.deletions import TenantDigest
from deployments.pool.embedding_pool import EmbeddingPool
from deployments.pool.encoders import Encoders
from deployments.pool.leases import Leases, Name
from deployments.pool.lessor import Lessor
from deployments.pool.peer import RemoteShard
from deployments.pool.replication import Handover, Replication
from deployments.protocol import CacheTier
from deployments.ray.actors import restarted

SWEEP_S = 5.0


class PoolShard:
    """See EmbeddingPool for the methods' meaning, Replication for those between shards."""

    def __init__(self, config: PoolConfig, shard: int) -> None:
        self._config = config
        tracing.configure(config.tracing, "pool")
        metrics = ServeMetrics()
        metrics.set(NAMES.processes, 1, part="pool")
        self._encoders = Encoders(config.app, config.max_encodes)
        self._pool = EmbeddingPool(
            self._encoders.encode, config.budget, metrics, config.max_encodes, copy=self._copy
        )
        self._replication = Replication(
            self._pool, shard, config.shards, cache(partial(RemoteShard, config.app))
        )
        self._leases = Leases()
        if restarted():
            self._leases.expect_unknown()
        self._lessor = Lessor(self._pool, self._replication, self._leases)
        self._recovered: asyncio.Task[None] | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._connecting: asyncio.Task[None] | None = None

    async def configure(self, config: PoolConfig) -> None:
        """Take on the limits of a newer deployment of the application."""
        await self._ready()
        self._config = config
        self._pool.resize(config.budget, config.max_encodes)
        if config.shards != self._replication.shards:  # some ids have another home now
            self._replication.shards = config.shards
            self._leases.expect_unknown()

    async def ping(self) -> bool:
        """Answers when this shard is ready for others' calls."""
        await self._ready()
        return True

    async def name_all(self, questions: list[NameQuestion]) -> list[Named]:
        """What each id names."""
        await self._ready()
        return list(await asyncio.gather(*map(self._lessor.answer, questions)))

    async def listen(self, lessee: str, heard: int) -> tuple[list[Name], int]:
        """Ids on which a lessee's leases are recalled, once there are any."""
        await self._ready()
        return await self._leases.listen(lessee, heard)

    async def lookup(
        self, key: ImageKey, deadline: float | None = None, traceparent: str | None = None
    ) -> tuple[Warm, CacheTier] | None:
        """The embedding of a known image."""
        with tracing.span("pool.lookup", traceparent):
            await self._ready()
            await self._replication.fetch(key)
            return await self._pool.lookup(key, deadline)

    async def ensure(
        self, key: ImageKey, square: Square, source: bytes | None, received: float, quota: int | None
    ) -> Ensured:
        """Have a new image encoded."""
        with tracing.span("pool.ensure", square.traceparent):
            await self._ready()
            return await self._pool.ensure(key, square, source, received, quota)

    async def lost(self, key: ImageKey, generation: int) -> None:
        """A reader's report."""
        self._pool.lost(key, generation)

    async def delete(self, tenant: str, digest: str, at: float) -> bool:
        """Forget an image."""
        await self._ready()
        return await self._lessor.delete(tenant, digest, at)

    async def images(self, tenant: str) -> list[StoredImage]:
        """What is held of a tenant's images."""
        await self._ready()
        return self._pool.images(tenant)

    async def ids(self, tenant: str, digests: list[str]) -> dict[str, frozenset[str]]:
        """The ids of images, as far as they are known here."""
        await self._ready()
        return {digest: self._pool.names.ids_of(tenant, digest) for digest in digests}

    async def stats(self) -> dict[str, float]:
        """Bytes and entries of this shard by tier."""
        await self._ready()
        directory = self._pool.directory
        return {
            "warm_entries": len(directory.warm),
            "warm_bytes": directory.warm.used,
            "cold_entries": len(directory.cold),
            "cold_bytes": directory.cold.used,
        }

    async def adopt(self, copy: NameCopy | ImageCopy) -> None:
        """Called by another shard. Not before this one has taken over what it missed."""
        await self._ready()
        self._pool.adopt(copy)

    async def handover(self, shard: int) -> Handover:
        """Called by a shard that starts, maybe while this one starts too."""
        return self._replication.handover(shard)

    async def copy_of(self, key: ImageKey) -> ImageCopy | None:
        """Called by a shard that starts."""
        return self._replication.copy_of(key)

    async def used(self, names: list[Name], images: list[TenantDigest]) -> None:
        """Called by another shard every few seconds, so that this one starts without being asked by
        anybody else."""
        await self._ready()
        self._replication.take_use(names, images)

    async def _ready(self) -> None:
        if self._recovered is None:
            self._recovered = asyncio.create_task(self._replication.recover())
            self._sweeper = asyncio.create_task(self._sweep())
            self._connecting = asyncio.create_task(self._encoders.connect())
        await asyncio.shield(self._recovered)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self._replication.tell_use()
            self._leases.sweep()
            self._pool.sweep()

    async def _copy(self, copy: NameCopy | ImageCopy) -> None:
        await self._replication.send(copy)
