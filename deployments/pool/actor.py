"""One shard of the pool as a detached, named Ray actor: it outlives replicas and redeployments of the
application.

It makes the encoder calls itself, so that it owns the embeddings: an encoder that is scaled down takes
nothing with it. The embeddings that die with a shard can be made again from the store.
"""

import asyncio
from contextlib import suppress

from deployments.config import PoolConfig
from deployments.keys import ImageKey
from deployments.messages import Ensured, Square, Warm
from deployments.observe import tracing
from deployments.observe.metrics import NAMES
from deployments.observe.report import ServeMetrics
from deployments.pool.embedding_pool import EmbeddingPool
from deployments.pool.encoders import Encoders
from deployments.protocol import CacheTier, StoreAway
from deployments.store.protocol import Usage
from deployments.store.valkey import ValkeyStore

SWEEP_S = 5.0
CLOCK_S = 1.0
"""Between two attempts to read the store's clock, when a shard starts: docs/retries.md."""


class PoolShard:
    """See EmbeddingPool for the methods' meaning. The first shard also sweeps the store."""

    def __init__(self, config: PoolConfig, shard: int) -> None:
        tracing.configure(config.tracing, "pool")
        self._metrics = ServeMetrics()
        self._metrics.set(NAMES.processes, 1, part="pool")
        self._encoders = Encoders(
            config.app, config.max_encodes, config.hedge, self._metrics, config.encoders
        )
        self._config = config
        self._store = ValkeyStore(config.store, self._metrics)
        self._pool = EmbeddingPool(
            self._encoders.encode, self._store, config.budget, self._metrics, config.max_encodes
        )
        self._sweeps_store = shard == 0
        self._tasks: list[asyncio.Task[None]] = []

    async def configure(self, config: PoolConfig) -> None:
        """Take on the limits of a newer deployment of the application, and its store."""
        if not self._tasks:
            self._tasks = [asyncio.create_task(work) for work in (self._encoders.connect(), self._run())]
        self._encoders.names = config.encoders or self._encoders.names
        self._pool.resize(config.budget, config.max_encodes)
        if config.store != self._config.store:
            self._store = ValkeyStore(config.store, self._metrics)
            self._pool.change_store(self._store)
        self._config = config

    async def ping(self) -> bool:
        """Answers when this shard does."""
        return True

    async def lookup(
        self, key: ImageKey, deadline: float | None = None, traceparent: str | None = None
    ) -> tuple[Warm, CacheTier] | None:
        """The embedding of a known image."""
        with tracing.span("pool.lookup", traceparent):
            return await self._pool.lookup(key, deadline)

    async def ensure(self, key: ImageKey, square: Square, born: int, quota: int | None) -> Ensured:
        """Have a new image encoded."""
        with tracing.span("pool.ensure", square.traceparent):
            return await self._pool.ensure(key, square, born, quota)

    async def lost(self, key: ImageKey, generation: int) -> None:
        """A reader's report."""
        self._pool.lost(key, generation)

    async def delete(self, tenant: str, digest: str, stamp: int) -> bool:
        """Forget an image."""
        return self._pool.delete(tenant, digest, stamp)

    async def embeddings(self, tenant: str) -> dict[str, int]:
        """Bytes of a tenant's embeddings by digest."""
        return self._pool.embeddings(tenant)

    async def stats(self) -> dict[str, float]:
        """Bytes and entries of this shard."""
        warm = self._pool.directory.warm
        return {"warm_entries": len(warm), "warm_bytes": warm.used}

    async def now(self) -> int:
        """A stamp of the store's clock."""
        return await self._store.now()

    async def _run(self) -> None:
        while True:
            try:
                self._pool.since = await self._store.now()
                break
            except StoreAway:
                await asyncio.sleep(CLOCK_S)
        while True:
            self._pool.sweep()
            if self._sweeps_store:
                with suppress(StoreAway):
                    self._report(await self._store.sweep())
            await asyncio.sleep(SWEEP_S)

    def _report(self, usage: Usage) -> None:
        if usage.idle:
            self._metrics.add(NAMES.evictions, usage.idle, reason="idle", tier="cold")
        self._metrics.set(NAMES.pool_entries, usage.files, tier="cold")
        self._metrics.set(NAMES.pool_bytes, usage.nbytes, tier="cold")
        self._metrics.set(NAMES.store_bytes, usage.largest, tenant_class="largest")
        self._metrics.set(NAMES.store_bytes, usage.nbytes - usage.largest, tenant_class="others")
