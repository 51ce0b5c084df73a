"""The pool's shards as their callers see them."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Sequence
from itertools import cycle
from typing import Any

import numpy as np
import numpy.typing as npt
import ray
from ray.exceptions import RayActorError, RayTaskError

from deployments.config import PoolConfig
from deployments.keys import ImageKey, shard_of
from deployments.messages import Ensured, NeedImage, OtherModel, Square, Warm
from deployments.observe import tracing
from deployments.observe.metrics import NAMES, Metrics
from deployments.pool.embedding_pool import PoolBusy
from deployments.pool.shards import pool_shards
from deployments.protocol import CacheTier, Overloaded, StoreAway
from sam3_engine.errors import DeviceFull
from sam3_engine.types import ImageSize

PAUSE_S = 0.1
"""Seconds between two calls about one image, while shards are away."""
GIVE_UP_S = 20.0
"""Seconds for which a call is tried while no shard is there that could answer it."""


class EmbeddingPoolClient:
    """Talks to the shards, and makes missing ones.

    Images are spread over the shards by hash. Where a shard is away, the next one encodes its images once more.
    Every method raises Overloaded when no shard can answer.
    """

    def __init__(self, config: PoolConfig, metrics: Metrics, retry_after_s: float = 1.0) -> None:
        self._retry_after_s = retry_after_s
        self._shards = pool_shards(config)
        self._metrics = metrics
        self._turns = itertools.count()

    async def lookup(self, key: ImageKey, deadline: float | None = None) -> tuple[Warm, CacheTier] | None:
        """The embedding of a known image; waits for a running encode. Raises DeadlineExceeded, OtherModel,
        StoreAway."""
        found: tuple[Warm, CacheTier] | None = await self._about(
            key, "lookup", key, deadline, tracing.traceparent()
        )
        return found

    async def ensure(
        self,
        key: ImageKey,
        square: npt.NDArray[np.uint8],
        size: ImageSize,
        born: int,
        deadline: float | None,
        quota: int | None = None,
    ) -> Ensured:
        """Have an image encoded, once however many ask. square: uint8 [S, S, 3] RGB. born: as the store said. quota:
        most bytes of this tenant, all shards together. Raises DeadlineExceeded, OtherModel."""
        pixels = _square(key, square, size, deadline)
        share = None if quota is None else quota // len(self._shards)
        ensured: Ensured = await self._about(key, "ensure", key, pixels, born, share)
        return ensured

    async def encode_frame(
        self, need: NeedImage, square: npt.NDArray[np.uint8], size: ImageSize, deadline: float | None
    ) -> list[Any]:
        """A frame's embedding for this caller alone: an ObjectRef, nested. It is made anew each time, and the pool
        forgets it. square: uint8 [S, S, 3] RGB. Raises DeadlineExceeded, OtherModel."""
        pixels = _square(need, square, size, deadline)
        count, first = len(self._shards), next(self._turns)
        reference: list[Any] = await self._try(
            list(dict.fromkeys((first % count, (first + 1) % count))), "encode_frame", pixels
        )
        return reference

    async def keep_session(
        self, tenant: str, session: str, revision: str, block: npt.NDArray[np.uint8]
    ) -> None:
        """Have a shard hold a video's state, the newest instead of the one before. block: uint8 [n]."""
        await self._try(self._shards_of(tenant, session), "keep_session", tenant, session, revision, block)

    async def session_state(self, tenant: str, session: str) -> tuple[str, list[Any]] | None:
        """Revision and reference, nested, of the newest state of a video that is held."""
        found: tuple[str, list[Any]] | None = await self._try(
            self._shards_of(tenant, session), "session_state", tenant, session
        )
        return found

    async def drop_session(self, tenant: str, session: str) -> None:
        """Forget a video's state, in every shard."""
        await self._all("drop_session", tenant, session)

    async def lost(self, key: ImageKey, generation: int) -> None:
        """Report an embedding that could not be read."""
        await self._about(key, "lost", key, generation)

    async def delete(self, tenant: str, digest: str, stamp: int) -> bool:
        """Forget an image in every shard. Returns True if one of them had it. It counts when all have confirmed it."""
        return any(await self._all("delete", tenant, digest, stamp))

    async def embeddings(self, tenant: str) -> dict[str, int]:
        """Bytes of a tenant's embeddings by digest."""
        found = await self._all("embeddings", tenant)
        total: Counter[str] = Counter()
        for shard in found:
            total.update(shard)
        return dict(total)

    async def ready(self) -> bool:
        """True if at least one shard answers."""
        return bool(await self._try(range(len(self._shards)), "ping"))

    async def now(self) -> int:
        """A stamp of the store's clock. Raises StoreAway."""
        return int(await self._try(range(len(self._shards)), "now"))

    async def _about(self, key: ImageKey, method: str, *args: Any) -> Any:
        """The answer of the shard of an image, or the next one."""
        return await self._try(self._shards_of(key.tenant, key.digest), method, *args)

    def _shards_of(self, tenant: str, name: str) -> list[int]:
        """The shard that is asked first about an image or a session, and the next one."""
        count = len(self._shards)
        first = shard_of(tenant, name, count)
        return sorted({first, (first + 1) % count}, key=first.__ne__)

    async def _all(self, method: str, *args: Any) -> list[Any]:
        """Every shard's own answer."""
        every = range(len(self._shards))
        return list(await asyncio.gather(*(self._try((shard,), method, *args) for shard in every)))

    async def _try(self, shards: Sequence[int], method: str, *args: Any) -> Any:
        """The answer of the first of `shards` that is there."""
        end = time.monotonic() + GIVE_UP_S
        for shard in cycle(shards):
            try:
                return await _answer(getattr(self._shards[shard], method), *args)
            except PoolBusy:
                raise Overloaded(self._retry_after_s) from None
            except (OtherModel, StoreAway, DeviceFull) as error:
                # Without Ray's wrapping, as it goes one hop further.
                kind = next(kind for kind in (OtherModel, StoreAway, DeviceFull) if isinstance(error, kind))
                raise kind from None
            except RayTaskError:
                raise  # the method itself raised it, be it about an encoder's death
            except RayActorError:
                self._metrics.add(NAMES.pool_failovers)
                if time.monotonic() > end:
                    raise Overloaded(self._retry_after_s) from None
                if shard == shards[-1]:
                    await asyncio.sleep(PAUSE_S)
        raise AssertionError("unreachable")


def _square(
    about: ImageKey | NeedImage, square: npt.NDArray[np.uint8], size: ImageSize, deadline: float | None
) -> Square:
    return Square(
        [ray.put(square)],
        model=about.model,
        size=size,
        deadline=deadline,
        traceparent=tracing.traceparent(),
        encoder=about.encoder,
    )


async def _answer(method: Any, *args: Any) -> Any:
    """The answer of a shard's method; leaving ends the shard's work on it."""
    reference = method.remote(*args)
    try:
        return await reference
    except asyncio.CancelledError:
        ray.cancel(reference)
        raise
