"""Which image a client's id names. The newest image wins; an id means nothing outside its tenant."""

import time
from collections import OrderedDict
from collections.abc import Callable

from deployments.keys import digest_of


class Names:
    """Image ids of all tenants of a shard, each bound to one content digest.

    An id that was derived from content names that content without being bound, unless its tenant has since
    sent other bytes under it.
    """

    def __init__(
        self, idle_ttl_s: float, limit: int = 1_000_000, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.idle_ttl_s = idle_ttl_s
        self._limit = limit
        self._clock = clock
        self._bound: OrderedDict[tuple[str, str], tuple[str, float]] = OrderedDict()
        """(tenant, id) -> digest and when it was last used; least recently used first."""

    def __len__(self) -> int:
        return len(self._bound)

    def bind(self, tenant: str, image_id: str, digest: str) -> None:
        """From now on `image_id` names the image with that digest."""
        if digest_of(image_id) == digest:
            self._bound.pop((tenant, image_id), None)
            return
        self._use(tenant, image_id, digest)
        while len(self._bound) > self._limit:
            self._bound.popitem(last=False)

    def resolve(self, tenant: str, image_id: str) -> str | None:
        """The digest that `image_id` names; None when it names nothing."""
        found = self._bound.get((tenant, image_id))
        if found is None:
            return digest_of(image_id)
        self._use(tenant, image_id, found[0])
        return found[0]

    def forget(self, tenant: str, image_id: str) -> None:
        """The id names nothing any more (or its own content again)."""
        self._bound.pop((tenant, image_id), None)

    def sweep(self) -> None:
        """Forget ids that nobody used within the idle time."""
        limit = self._clock() - self.idle_ttl_s
        while self._bound and next(iter(self._bound.values()))[1] < limit:
            self._bound.popitem(last=False)

    def _use(self, tenant: str, image_id: str, digest: str) -> None:
        self._bound[tenant, image_id] = (digest, self._clock())
        self._bound.move_to_end((tenant, image_id))
