"""The decoder's side of leases: what ids name, without asking the pool each time. See `deployments.pool.leases`."""

import asyncio
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Protocol

from deployments.messages import Named
from deployments.pool.leases import Name
from deployments.protocol import Overloaded

RETRY_S = 1.0
"""Between two attempts to listen to a shard that is away: docs/retries.md."""


class Shards(Protocol):
    """What tells the meaning of ids, and of changes."""

    shards: int

    async def name(
        self, tenant: str, image_id: str, digest: str | None, received: float, lessee: str
    ) -> Named:
        """What an id names; with `digest`, the id is bound to it first."""
        ...

    async def recalls(self, shard: int, lessee: str, heard: int) -> tuple[list[Name], int]:
        """See `Leases.listen`. Raises Overloaded when the shard is away."""
        ...


class LeasedNames:
    """`deployments.decoder.job.Resolver` of one decoder."""

    def __init__(self, pool: Shards, clock: Callable[[], float] = time.monotonic) -> None:
        self._pool = pool
        self._clock = clock
        self.lessee = uuid.uuid4().hex
        """Its name with the shards."""
        self._held: OrderedDict[Name, tuple[str, float]] = OrderedDict()
        """Digest, and when the lease ends; first the one that was got first."""
        self._recalled = 0
        self._listeners: list[asyncio.Task[None]] = []

    async def resolve(self, tenant: str, image_id: str, digest: str | None, received: float) -> str | None:
        """The digest that an id names; with `digest`, the id is bound to it first. Raises Overloaded."""
        held = self._get((tenant, image_id))
        if held is not None and digest in (None, held):
            return held
        asked, recalled = self._clock(), self._recalled
        named = await self._pool.name(tenant, image_id, digest, received, self.lessee)
        # A recall may have overtaken this answer.
        if named.digest is not None and named.lease_s and recalled == self._recalled:
            self._keep((tenant, image_id), named.digest, asked + named.lease_s)
        return named.digest

    def close(self) -> None:
        """Listen no more: what is held ends with its leases."""
        for listener in self._listeners:
            listener.cancel()

    def _get(self, name: Name) -> str | None:
        digest, end = self._held.get(name, (None, 0.0))
        return digest if end > self._clock() else None

    def _keep(self, name: Name, digest: str, end: float) -> None:
        self._held.pop(name, None)
        self._held[name] = digest, end
        while self._held and next(iter(self._held.values()))[1] <= self._clock():
            self._held.popitem(last=False)
        if not self._listeners:
            self._listeners = [asyncio.create_task(self._listen(shard)) for shard in range(self._pool.shards)]

    def _end(self, names: Iterable[Name]) -> None:
        self._recalled += 1
        for name in names:
            self._held.pop(name, None)

    async def _listen(self, shard: int) -> None:
        heard = 0
        while True:
            try:
                names, heard = await self._pool.recalls(shard, self.lessee, heard)
            except Overloaded:
                await asyncio.sleep(RETRY_S)  # leases end by themselves meanwhile
            else:
                if names:
                    self._end(names)
