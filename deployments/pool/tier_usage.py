"""The bytes of a tier by tenant, and the images that leave when they are too many.

A tenant with a quota stays within it. Beyond the budget of all, the tenant that holds most gives first, its
least recently used image at a time: nobody's images are pushed out by a tenant that holds more.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar


class OfTenant(Hashable, Protocol):
    """A key that says whose it is: `deployments.keys.ImageKey` or another one."""

    @property
    def tenant(self) -> str:
        """Name of the tenant."""
        ...


Key = TypeVar("Key", bound=OfTenant)
Quota = Callable[[str], int | None]
"""The most bytes that a tenant may hold; None: no limit but the budget."""


class TierUsage(Generic[Key]):
    """Images and their bytes by tenant, least recently used first."""

    def __init__(self) -> None:
        self.used = 0
        self._tenants: dict[str, OrderedDict[Key, int]] = {}
        self._bytes: dict[str, int] = {}

    def __len__(self) -> int:
        return sum(map(len, self._tenants.values()))

    def __contains__(self, key: Key) -> bool:
        return key in self._tenants.get(key.tenant, ())

    def held_by(self, tenant: str) -> int:
        """Bytes of one tenant."""
        return self._bytes.get(tenant, 0)

    def add(self, key: Key, nbytes: int) -> None:
        """Enter an image as its tenant's most recently used one."""
        self.remove(key)
        self._tenants.setdefault(key.tenant, OrderedDict())[key] = nbytes
        self._bytes[key.tenant] = self.held_by(key.tenant) + nbytes
        self.used += nbytes

    def remove(self, key: Key) -> None:
        """Take an image out, if it is in."""
        images = self._tenants.get(key.tenant)
        nbytes = images.pop(key, None) if images else None
        if images is None or nbytes is None:
            return
        self.used -= nbytes
        self._bytes[key.tenant] -= nbytes
        if not images:
            del self._tenants[key.tenant], self._bytes[key.tenant]

    def touch(self, key: Key) -> None:
        """The image is its tenant's most recently used one."""
        images = self._tenants.get(key.tenant)
        if images and key in images:
            images.move_to_end(key)

    def next_to_leave(self, budget: int, quota: Quota, keep: Key | None = None) -> Key | None:
        """The image that has to leave first, never `keep`; None when all is within budget and quotas."""
        over = [t for t, held in self._bytes.items() if (most := quota(t)) is not None and held > most]
        if found := self._oldest(over, keep):
            return found
        return self._oldest(list(self._tenants), keep) if self.used > budget else None

    def _oldest(self, tenants: list[str], keep: Key | None) -> Key | None:
        """The least recently used image of the one among `tenants` that holds most and has another than
        `keep`."""
        own = keep.tenant if keep else None
        for tenant in sorted(tenants, key=lambda t: (self._bytes[t], t == own), reverse=True):
            found = next((key for key in self._tenants[tenant] if key != keep), None)
            if found is not None:
                return found
        return None
