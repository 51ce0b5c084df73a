"""One shard of the pool as a detached, named Ray actor: it outlives replicas and redeployments of the
application.

It makes the encoder calls itself, so that it owns the embeddings: an encoder that is scaled down takes
nothing with it. The embeddings that die with a shard can be made again from the store.
"""

import asyncio
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
import ray

from deployments.config import PoolConfig
from deployments.keys import ImageKey
from deployments.messages import Ensured, Square, Warm
from deployments.observe import tracing
from deployments.observe.metrics import NAMES
from deployments.observe.report import ServeMetrics
from deployments.pool.embedding_pool import EmbeddingPool
from deployments.pool.encoders import Encoders
from deployments.pool.session_states import SessionName, SessionStates
from deployments.protocol import CacheTier, StoreAway
from deployments.store.protocol import Usage
from deployments.store.valkey import ValkeyStore
from deployments.store.valkey_sessions import sessions_of

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
        self._sessions = sessions_of(config, self._metrics)
        self._states = SessionStates(0, 0)
        self._take_on(config)
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
        if (config.store, config.video) != (self._config.store, self._config.video):
            self._sessions = sessions_of(config, self._metrics)
        self._take_on(config)
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

    async def encode_frame(self, square: Square) -> list[Any]:
        """Have a frame of a video encoded; its embedding's reference, nested, is for the caller alone."""
        with tracing.span("pool.encode_frame", square.traceparent):
            return await self._pool.encode_frame(square)

    async def keep_session(
        self, tenant: str, session: str, revision: str, block: npt.NDArray[np.uint8]
    ) -> None:
        """Hold a video's state, as an object that this process owns. block: uint8 [n]."""
        self._states.keep(SessionName(tenant, session), revision, ray.put(block), block.nbytes)

    async def session_state(self, tenant: str, session: str) -> tuple[str, list[Any]] | None:
        """Revision and reference, nested, of a video's state."""
        return self._states.find(SessionName(tenant, session))

    async def drop_session(self, tenant: str, session: str) -> bool:
        """Let a video's state go."""
        return self._states.drop(SessionName(tenant, session))

    async def lost(self, key: ImageKey, generation: int) -> None:
        """A reader's report."""
        self._pool.lost(key, generation)

    async def delete(self, tenant: str, digest: str, stamp: int) -> bool:
        """Forget an image."""
        return self._pool.delete(tenant, digest, stamp)

    async def embeddings(self, tenant: str) -> dict[str, int]:
        """Bytes of a tenant's embeddings by digest."""
        return self._pool.embeddings(tenant)

    async def now(self) -> int:
        """A stamp of the store's clock."""
        return await self._store.now()

    def _take_on(self, config: PoolConfig) -> None:
        if config.video is not None:
            self._states.budget, self._states.idle_s = config.video.warm_bytes, config.video.idle_s

    async def _run(self) -> None:
        while True:
            try:
                self._pool.since = await self._store.now()
                break
            except StoreAway:
                await asyncio.sleep(CLOCK_S)
        while True:
            self._pool.sweep()
            self._states.sweep()
            if self._sessions is not None:
                self._metrics.set(NAMES.video_bytes, self._states.used, tier="warm")
            if self._sweeps_store:
                with suppress(StoreAway):
                    self._report(await self._store.sweep())
                    await self._sweep_sessions()
            await asyncio.sleep(SWEEP_S)

    async def _sweep_sessions(self) -> None:
        if self._sessions is not None:
            count, nbytes = await self._sessions.sweep_sessions()
            self._metrics.set(NAMES.video_sessions, count)
            self._metrics.set(NAMES.video_bytes, nbytes, tier="cold")

    def _report(self, usage: Usage) -> None:
        if usage.idle:
            self._metrics.add(NAMES.evictions, usage.idle, reason="idle", tier="cold")
        self._metrics.set(NAMES.pool_entries, usage.files, tier="cold")
        self._metrics.set(NAMES.pool_bytes, usage.nbytes, tier="cold")
        self._metrics.set(NAMES.store_bytes, usage.largest, tenant_class="largest")
        self._metrics.set(NAMES.store_bytes, usage.nbytes - usage.largest, tenant_class="others")
