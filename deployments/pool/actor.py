"""One shard of the pool as a detached, named Ray actor: it outlives replicas and redeployments of the
application.

It makes the encoder calls itself, so that it owns the embeddings: an encoder that is scaled down takes
nothing with it.
"""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import ray
from ray import serve
from ray.exceptions import RayActorError
from ray.experimental.locations import get_local_object_locations
from ray.serve.exceptions import BackPressureError
from ray.serve.handle import DeploymentHandle

from deployments.config import ENCODER, PoolConfig
from deployments.keys import ImageKey
from deployments.messages import Ensured, Source, Square, Warm
from deployments.metrics import NAMES
from deployments.pool.embedding_pool import EmbeddingPool, PoolBusy
from deployments.protocol import CacheTier, DeadlineExceeded
from deployments.serve_metrics import ServeMetrics

SWEEP_S = 5.0


class PoolShard:
    """See EmbeddingPool for the methods' meaning."""

    def __init__(self, config: PoolConfig) -> None:
        self._config = config
        metrics = ServeMetrics()
        metrics.set(NAMES.processes, 1, part="pool")
        self._pool = EmbeddingPool(self._encode, config.budget, metrics, config.max_encodes)
        self._encoder: DeploymentHandle[Any] | None = None
        self._waiters = ThreadPoolExecutor(config.max_encodes, thread_name_prefix="await-encode")
        self._sweeper: asyncio.Task[None] | None = None

    async def configure(self, config: PoolConfig) -> None:
        """Take on the limits of a newer deployment of the application."""
        self._start_sweeping()
        self._config = config
        self._pool.resize(config.budget, config.max_encodes)

    async def resolve(self, tenant: str, image_id: str, digest: str | None) -> str | None:
        """The digest that an id names."""
        return self._pool.resolve(tenant, image_id, digest)

    async def lookup(self, key: ImageKey, deadline: float | None = None) -> tuple[Warm, CacheTier] | None:
        """The embedding of a known image."""
        return await self._pool.lookup(key, deadline)

    async def ensure(self, key: ImageKey, square: Square, source: bytes | None) -> Ensured:
        """Have a new image encoded."""
        self._start_sweeping()
        return await self._pool.ensure(key, square, source)

    async def lost(self, key: ImageKey, generation: int) -> None:
        """A reader's report."""
        self._pool.lost(key, generation)

    async def stats(self) -> dict[str, float]:
        """Bytes and entries of this shard by tier."""
        directory = self._pool.directory
        counts = directory.counts()
        return {
            "warm_entries": counts["warm"],
            "warm_bytes": directory.warm_used,
            "cold_entries": counts["cold"],
            "cold_bytes": directory.cold_used,
        }

    def _start_sweeping(self) -> None:
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().create_task(self._sweep())

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self._pool.sweep()

    async def _encode(self, image: Square | Source) -> tuple[Any, int]:
        """One encoder call; a second one when the encoder dies. The reference is this process's own."""
        if self._encoder is None:
            handle = await asyncio.to_thread(serve.get_deployment_handle, ENCODER, self._config.app)
            self._encoder = handle.options(method_name="encode", _by_reference=True)
        for last in (False, True):
            response: Any = self._encoder.remote(image)
            try:
                reference = await response._to_object_ref()
                return reference, await self._settled(reference)
            except BackPressureError:
                raise PoolBusy from None
            except DeadlineExceeded:
                raise DeadlineExceeded from None  # without Ray's wrapping, as it goes one hop further
            except asyncio.CancelledError:
                response.cancel()
                raise
            except RayActorError:
                if last:
                    raise
        raise AssertionError("unreachable")

    async def _settled(self, reference: Any) -> int:
        """Wait for an object without fetching it; its bytes. Raises the error, if it turned out to be one."""
        wait = partial(ray.wait, [reference], fetch_local=False)
        await asyncio.get_running_loop().run_in_executor(self._waiters, wait)
        found = get_local_object_locations([reference]).get(reference, {})
        if found.get("node_ids"):
            return int(found["object_size"])
        value = await reference  # small, so kept by value: an error, or a very small embedding
        return int(value.nbytes)
