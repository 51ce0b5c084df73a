"""How one shard's actor calls another one."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import ray
from ray.exceptions import RayError

from deployments.keys import ImageKey
from deployments.messages import ImageCopy, NameCopy
from deployments.pool.deletions import TenantDigest
from deployments.pool.leases import Name
from deployments.pool.replication import Handover, ShardGone

NAMESPACE = "sam3"


def shard_name(app: str, shard: int) -> str:
    """The actor's name in NAMESPACE."""
    return f"embedding-pool:{app}:{shard}"


class RemoteShard:
    """Another shard, by its name: `deployments.pool.replication.Peer`."""

    def __init__(self, app: str, shard: int) -> None:
        self._name = shard_name(app, shard)
        self._actor: Any = None

    async def adopt(self, copy: NameCopy | ImageCopy) -> None:
        """Hold a copy."""
        await self._call(lambda shard: shard.adopt.remote(copy))

    async def handover(self, shard: int) -> Handover:
        """What `shard` should hold of what this one holds."""
        handover: Handover = await self._call(lambda other: other.handover.remote(shard))
        return handover

    async def copy_of(self, key: ImageKey) -> ImageCopy | None:
        """A source."""
        copy: ImageCopy | None = await self._call(lambda shard: shard.copy_of.remote(key))
        return copy

    async def used(self, names: list[Name], images: list[TenantDigest]) -> None:
        """Ids and images that were asked for elsewhere."""
        await self._call(lambda shard: shard.used.remote(names, images))

    async def _call(self, method: Callable[[Any], Awaitable[Any]]) -> Any:
        try:
            if self._actor is None:
                self._actor = await asyncio.to_thread(ray.get_actor, self._name, NAMESPACE)
            return await method(self._actor)
        except (RayError, ValueError):  # it died, or it does not exist yet
            raise ShardGone(self._name) from None
