"""One shard of the pool as a detached, named Ray actor: it outlives replicas and redeployments of the
application.

It makes the encoder calls itself, so that it owns the embeddings: an encoder that is scaled down takes
nothing with it.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import cache, partial
from typing import Any

from ray import serve
from ray.exceptions import RayActorError, RayError
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle

from deployments.config import ENCODER, PoolConfig
from deployments.keys import ImageKey
from deployments.messages import (
    Ensured,
    ImageCopy,
    NameCopy,
    Named,
    NameQuestion,
    OtherModel,
    PixelsLost,
    Source,
    Square,
    StoredImage,
    Warm,
)
from deployments.observe import tracing
from deployments.observe.metrics import NAMES
from deployments.observe.report import ServeMetrics
from deployments.pool.deletions import TenantDigest
from deployments.pool.embedding_pool import EmbeddingPool, PoolBusy
from deployments.pool.leases import Leases, Name
from deployments.pool.lessor import Lessor
from deployments.pool.peer import RemoteShard
from deployments.pool.replication import Handover, Replication
from deployments.protocol import CacheTier, DeadlineExceeded
from deployments.ray.actors import restarted
from deployments.ray.objects import by_reference, reference_of, settled

SWEEP_S = 5.0
CONNECT_S = 1.0
ENCODERS_ASKED = 4
"""For one image, while an update replaces them by others."""


class PoolShard:
    """See EmbeddingPool for the methods' meaning, Replication for those between shards."""

    def __init__(self, config: PoolConfig, shard: int) -> None:
        self._config = config
        tracing.configure(config.tracing, "pool")
        metrics = ServeMetrics()
        metrics.set(NAMES.processes, 1, part="pool")
        self._pool = EmbeddingPool(self._encode, config.budget, metrics, config.max_encodes, copy=self._copy)
        self._replication = Replication(
            self._pool, shard, config.shards, cache(partial(RemoteShard, config.app))
        )
        self._leases = Leases()
        if restarted():
            self._leases.expect_unknown()
        self._lessor = Lessor(self._pool, self._replication, self._leases)
        self._encoder: DeploymentHandle[Any] | None = None
        self._waiters = ThreadPoolExecutor(config.max_encodes, thread_name_prefix="await-encode")
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
            self._connecting = asyncio.create_task(self._connect_early())
        await asyncio.shield(self._recovered)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self._replication.tell_use()
            self._leases.sweep()
            self._pool.sweep()

    async def _connect(self) -> DeploymentHandle[Any]:
        """Have the encoders' handle. Raises RayServeException while they are not deployed."""
        handle = await asyncio.to_thread(serve.get_deployment_handle, ENCODER, self._config.app)
        self._encoder = by_reference(handle, "encode")
        return self._encoder

    async def _connect_early(self) -> None:
        """Before the first image comes: maybe then the head is away, whom the handle has to ask once."""
        while self._encoder is None:
            with suppress(RayServeException, RayError):
                await self._connect()
            await asyncio.sleep(CONNECT_S)

    async def _copy(self, copy: NameCopy | ImageCopy) -> None:
        await self._replication.send(copy)

    async def _encode(self, image: Square | Source) -> tuple[Any, int]:
        """One encoder call; a second one when the encoder dies, some more while others have the wanted model. The
        reference is this process's own."""
        encoder = self._encoder or await self._connect()
        image = replace(image, traceparent=tracing.traceparent())
        died = False
        for left in reversed(range(ENCODERS_ASKED)):
            response: Any = encoder.remote(image)
            try:
                reference = await reference_of(response)
                return reference, await settled(reference, self._waiters)
            except BackPressureError:
                raise PoolBusy from None
            except DeadlineExceeded:
                raise DeadlineExceeded from None  # without Ray's wrapping, as it goes one hop further
            except PixelsLost:
                raise PixelsLost from None
            except asyncio.CancelledError:
                response.cancel()
                raise
            except OtherModel:
                if not left:
                    raise OtherModel from None
            except RayActorError:
                if died or not left:
                    raise
                died = True
        raise AssertionError("unreachable")
