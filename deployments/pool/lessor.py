"""A shard's answers about ids, and leases on them: `pool.names`, `pool.leases` and `pool.replication` together."""

from deployments.messages import Named, NameQuestion
from deployments.pool.embedding_pool import EmbeddingPool
from deployments.pool.leases import LEASE_S, Leases
from deployments.pool.replication import Replication


class Lessor:
    """One shard's. Leases are granted by an id's home alone: where another shard stands in for it, a change waits until
    those of the home have ended."""

    def __init__(self, pool: EmbeddingPool, replication: Replication, leases: Leases) -> None:
        self._pool = pool
        self._replication = replication
        self._leases = leases

    async def answer(self, asked: NameQuestion) -> Named:
        """The digest that an id names, and for how long the asker need not ask again."""
        name = asked.tenant, asked.image_id
        question = (*name, asked.digest, asked.received)
        home = self._replication.is_home(*name)
        if asked.digest is not None and self._pool.names.resolve(*name) not in (None, asked.digest):
            async with self._leases.changing([name], unknown_s=0.0 if home else LEASE_S):
                found = await self._pool.resolve(*question)
        else:
            found = await self._pool.resolve(*question)
        if found is None:
            return Named(None)
        self._replication.note_use(*name, found)
        if asked.lessee is None or not home:
            return Named(found)
        # What is used is told before it is idle.
        lease_s = min(LEASE_S, self._pool.names.idle_ttl_s / 2)
        # While this answer was copied, the id may have come to name another image.
        still = await self._pool.resolve(*name, None) == found
        granted = still and self._leases.grant(asked.lessee, name, found, lease_s)
        return Named(found, lease_s if granted else 0.0)

    async def delete(self, tenant: str, digest: str, at: float) -> bool:
        """Forget an image: whether there was one. Nobody answers for it from memory any more, once this is done."""
        found = self._pool.delete(tenant, digest, at)
        async with self._leases.changing(self._leases.names_of(tenant, digest)):
            return found
