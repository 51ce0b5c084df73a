"""The pool's shards as their callers see them."""

import asyncio
from typing import Any

import numpy as np
import numpy.typing as npt
import ray

from deployments.config import PoolConfig
from deployments.keys import ImageKey, shard_of
from deployments.messages import Ensured, Square, Warm
from deployments.pool.embedding_pool import PoolBusy
from deployments.protocol import CacheTier, Overloaded
from sam3_engine.types import ImageSize

NAMESPACE = "sam3"
CONCURRENCY = 4096
"""Calls that one shard holds at once; most of them wait for an encode."""


def shard_name(app: str, shard: int) -> str:
    """The actor's name in NAMESPACE."""
    return f"embedding-pool:{app}:{shard}"


class EmbeddingPoolClient:
    """Talks to the shards, and makes those that do not exist yet.

    Calls to a shard that is being restarted wait for it. Ids and contents are spread over the shards by hash.
    """

    def __init__(self, config: PoolConfig, retry_after_s: float = 1.0) -> None:
        from deployments.pool.actor import PoolShard

        self._retry_after_s = retry_after_s
        self._shards: list[Any] = [
            ray.remote(PoolShard)
            .options(
                name=shard_name(config.app, shard),
                namespace=NAMESPACE,
                lifetime="detached",
                get_if_exists=True,
                max_restarts=-1,
                max_task_retries=-1,
                max_concurrency=CONCURRENCY,
                num_cpus=0,
            )
            .remote(config)
            for shard in range(config.shards)
        ]
        for shard in self._shards:  # one that is older than this deployment has other limits
            shard.configure.remote(config)

    async def resolve(self, tenant: str, image_id: str, digest: str | None) -> str | None:
        """The digest that an id names; with `digest`, the id is bound to it first."""
        found: str | None = await self._shard(tenant, image_id).resolve.remote(tenant, image_id, digest)
        return found

    async def lookup(self, key: ImageKey, deadline: float | None = None) -> tuple[Warm, CacheTier] | None:
        """The embedding of a known image; waits for a running encode. Raises Overloaded, DeadlineExceeded."""
        asked = self._shard(key.tenant, key.digest).lookup.remote(key, deadline)
        try:
            found: tuple[Warm, CacheTier] | None = await _wanted(asked)
        except PoolBusy:
            raise Overloaded(self._retry_after_s) from None
        return found

    async def ensure(
        self,
        key: ImageKey,
        square: npt.NDArray[np.uint8],
        size: ImageSize,
        source: bytes,
        deadline: float | None = None,
    ) -> Ensured:
        """Have an image encoded, once however many ask. square: uint8 [S, S, 3] RGB.

        Raises Overloaded, DeadlineExceeded.
        """
        pixels = Square([ray.put(square)], size, deadline)
        asked = self._shard(key.tenant, key.digest).ensure.remote(key, pixels, source)
        try:
            ensured: Ensured = await _wanted(asked)
        except PoolBusy:
            raise Overloaded(self._retry_after_s) from None
        return ensured

    async def lost(self, key: ImageKey, generation: int) -> None:
        """Report an embedding that could not be read."""
        await self._shard(key.tenant, key.digest).lost.remote(key, generation)

    async def stats(self) -> list[dict[str, float]]:
        """Bytes and entries of every shard."""
        return list(await asyncio.gather(*(shard.stats.remote() for shard in self._shards)))

    def _shard(self, tenant: str, name: str) -> Any:
        return self._shards[shard_of(tenant, name, len(self._shards))]


async def _wanted(reference: Any) -> Any:
    """A call's answer; when its caller leaves, the shard learns that one fewer waits."""
    try:
        return await reference
    except asyncio.CancelledError:
        ray.cancel(reference)
        raise
