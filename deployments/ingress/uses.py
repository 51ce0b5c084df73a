"""Tells the store now and then which images were asked for, so that their files do not count as idle."""

import asyncio

from deployments.protocol import StoreAway
from deployments.store.protocol import Store, TenantDigest

LONGEST_S = 60.0


class Uses:
    """One process's uses of images. idle_ttl_s: seconds that the store keeps an image that nobody asks for."""

    def __init__(self, store: Store, idle_ttl_s: float) -> None:
        self._store = store
        self._every_s = min(LONGEST_S, idle_ttl_s / 4)
        self._used: set[TenantDigest] = set()
        self._teller: asyncio.Task[None] | None = None

    def note(self, tenant: str, digest: str) -> None:
        """Somebody asked for an image."""
        self._used.add((tenant, digest))
        if self._teller is None:
            self._teller = asyncio.get_running_loop().create_task(self._tell_for_ever())

    async def tell(self) -> None:
        """Tell the store now. Where it is away, it is told the next time."""
        used, self._used = self._used, set()
        try:
            await self._store.touch(used)
        except StoreAway:
            self._used |= used

    async def _tell_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            await self.tell()
