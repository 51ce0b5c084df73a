"""The pool's shards as their callers see them."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from math import inf
from typing import Any

import numpy as np
import numpy.typing as npt
import ray
from ray.exceptions import RayActorError, RayTaskError

from deployments.config import PoolConfig
from deployments.keys import ImageKey, derived_id, shards_of
from deployments.messages import Ensured, Named, NameQuestion, OtherModel, Square, StoredImage, Warm
from deployments.model.batcher import Batcher
from deployments.observe import tracing
from deployments.observe.metrics import NAMES, Metrics
from deployments.pool.embedding_pool import PoolBusy
from deployments.pool.failover import Failover
from deployments.pool.leases import Name
from deployments.pool.replication import ShardGone
from deployments.pool.shards import pool_shards
from deployments.protocol import CacheTier, Overloaded
from sam3_engine.types import ImageSize


class EmbeddingPoolClient:
    """Talks to the shards, and makes those that do not exist yet.

    Ids and contents are spread over the shards by hash; see `pool.replication` for what happens when one is away.
    Every method raises Overloaded when no shard can answer.
    """

    def __init__(self, config: PoolConfig, metrics: Metrics, retry_after_s: float = 1.0) -> None:
        self._retry_after_s = retry_after_s
        self._shards = pool_shards(config)
        self.shards = len(self._shards)
        self._naming: dict[tuple[int, ...], Batcher[NameQuestion, Named]] = {}
        """Questions about ids that the same shards answer."""
        self._failover = Failover(
            lambda shard: _answer(self._shards[shard].ping),
            lambda: metrics.add(NAMES.pool_failovers),
        )

    async def resolve(self, tenant: str, image_id: str, digest: str | None, received: float) -> str | None:
        """The digest that an id names; with `digest`, the id is bound to it first."""
        return (await self.name(tenant, image_id, digest, received)).digest

    async def name(
        self, tenant: str, image_id: str, digest: str | None, received: float, lessee: str | None = None
    ) -> Named:
        """What an id names; with `digest`, the id is bound to it first. lessee: who wants a lease on it."""
        shards = shards_of(tenant, image_id, self.shards)
        if shards not in self._naming:
            self._naming[shards] = Batcher(partial(self._name_all, shards), None, inf, whole=True)
        named, _ = await self._naming[shards].submit(NameQuestion(tenant, image_id, digest, received, lessee))
        return named

    async def _name_all(self, shards: tuple[int, ...], questions: Sequence[NameQuestion]) -> Sequence[Named]:
        found: Sequence[Named] = await self._try(shards, "name_all", list(questions))
        return found

    async def recalls(self, shard: int, lessee: str, heard: int) -> tuple[list[Name], int]:
        """See `pool.leases.Leases.listen`. Raises Overloaded when the shard goes away meanwhile."""
        try:
            found: tuple[list[Name], int] = await _answer(self._shards[shard].listen, lessee, heard)
        except ShardGone:
            raise Overloaded(self._retry_after_s) from None
        return found

    async def lookup(self, key: ImageKey, deadline: float | None = None) -> tuple[Warm, CacheTier] | None:
        """The embedding of a known image; waits for a running encode. Raises DeadlineExceeded, OtherModel."""
        found: tuple[Warm, CacheTier] | None = await self._call(
            key.tenant, key.digest, "lookup", key, deadline, tracing.traceparent()
        )
        return found

    async def ensure(
        self,
        key: ImageKey,
        square: npt.NDArray[np.uint8],
        size: ImageSize,
        source: bytes,
        deadline: float | None,
        received: float,
        quota: int | None = None,
    ) -> Ensured:
        """Have an image encoded, once however many ask. square: uint8 [S, S, 3] RGB. quota: most bytes of
        this tenant in each of the tiers warm and cold, all shards together. Raises DeadlineExceeded,
        OtherModel."""
        pixels = Square(
            [ray.put(square)],
            model=key.model,
            size=size,
            deadline=deadline,
            traceparent=tracing.traceparent(),
        )
        share = None if quota is None else quota // self.shards
        ensured: Ensured = await self._call(
            key.tenant, key.digest, "ensure", key, pixels, source, received, share
        )
        return ensured

    async def lost(self, key: ImageKey, generation: int) -> None:
        """Report an embedding that could not be read."""
        await self._call(key.tenant, key.digest, "lost", key, generation)

    async def delete(self, tenant: str, digest: str, at: float) -> bool:
        """Forget an image, in every shard: whether there was one. It counts when all have confirmed it."""
        found = await self._all("delete", tenant, digest, at)
        return any(found)

    async def images(self, tenant: str) -> list[tuple[StoredImage, list[str]]]:
        """What is held of a tenant's images, each with its ids; newest first."""
        merged: dict[str, StoredImage] = {}
        for images in await self._all("images", tenant):
            for image in images:
                merged[image.digest] = _together(merged.get(image.digest, image), image)
        ids: dict[str, set[str]] = {digest: set() for digest in merged}
        for found in await self._all("ids", tenant, list(merged)):
            for digest, some in found.items():
                ids[digest] |= some
        newest = sorted(merged.values(), key=lambda image: image.age_s)
        return [(image, sorted(ids[image.digest]) or [derived_id(image.digest)]) for image in newest]

    async def ready(self) -> bool:
        """Whether a shard answers."""
        await self._try(range(self.shards), "ping")
        return True

    async def stats(self) -> list[dict[str, float]]:
        """Bytes and entries of every shard."""
        found: list[dict[str, float]] = await self._all("stats")
        return found

    async def _call(self, tenant: str, name: str, method: str, *args: Any) -> Any:
        return await self._try(shards_of(tenant, name, self.shards), method, *args)

    async def _all(self, method: str, *args: Any) -> list[Any]:
        """Every shard's own answer."""
        every = range(self.shards)
        return list(await asyncio.gather(*(self._try((shard,), method, *args) for shard in every)))

    async def _try(self, shards: Iterable[int], method: str, *args: Any) -> Any:
        try:
            return await self._failover.call(
                tuple(shards), lambda shard: _answer(getattr(self._shards[shard], method), *args)
            )
        except (PoolBusy, ShardGone):
            raise Overloaded(self._retry_after_s) from None
        except OtherModel:
            raise OtherModel from None  # without Ray's wrapping, as it goes one hop further


async def _answer(method: Any, *args: Any) -> Any:
    """The answer of a shard's method; leaving ends the shard's work on it. Raises ShardGone."""
    reference = method.remote(*args)
    try:
        return await reference
    except RayTaskError:
        raise  # what the method raised, be it about an encoder's death
    except RayActorError:
        raise ShardGone from None
    except asyncio.CancelledError:
        ray.cancel(reference)
        raise


def _together(one: StoredImage, other: StoredImage) -> StoredImage:
    """One image as two shards hold it."""
    return replace(
        one,
        source_bytes=max(one.source_bytes, other.source_bytes),
        embedding_bytes=max(one.embedding_bytes, other.embedding_bytes),
        age_s=max(one.age_s, other.age_s),
    )
