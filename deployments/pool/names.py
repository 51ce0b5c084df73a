"""Which image a client's id names. The newest image wins; an id means nothing outside its tenant."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import replace

from deployments.keys import digest_in
from deployments.messages import Binding


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
        self._bound: OrderedDict[tuple[str, str], Binding] = OrderedDict()
        """By (tenant, id), least recently used first."""
        self._ids: dict[tuple[str, str], set[str]] = {}
        """Bound ids by (tenant, digest)."""

    def __len__(self) -> int:
        return len(self._bound)

    def bind(self, tenant: str, image_id: str, digest: str, received: float = 0.0) -> Binding | None:
        """From now on `image_id` names the image with that digest. The new binding; None when it was so
        already."""
        old = self._bound.get((tenant, image_id))
        if old is None and digest_in(image_id) == digest:
            return None
        if old is not None and old.digest == digest:
            self._put(tenant, image_id, replace(old, received=max(received, old.received)))
            return None
        version = max(time.time_ns(), old.version + 1 if old else 0)
        return self._put(tenant, image_id, Binding(digest, version, received, 0.0))

    def adopt(self, tenant: str, image_id: str, binding: Binding) -> None:
        """Take a copy of another shard's binding, unless a newer one is here."""
        old = self._bound.get((tenant, image_id))
        if old is None or old.version < binding.version:
            self._put(tenant, image_id, binding)

    def resolve(self, tenant: str, image_id: str) -> str | None:
        """The digest that `image_id` names; None when it names nothing."""
        found = self._bound.get((tenant, image_id))
        if found is None:
            return digest_in(image_id)
        self._put(tenant, image_id, found)
        return found.digest

    def ids_of(self, tenant: str, digest: str) -> frozenset[str]:
        """The ids that are bound to an image."""
        return frozenset(self._ids.get((tenant, digest), ()))

    def forget_image(self, tenant: str, digest: str, at: float = float("inf")) -> int:
        """No id names the image any more, but for those that a request received after `at` gave it. How many
        went."""
        old = [i for i in self.ids_of(tenant, digest) if self._bound[tenant, i].received <= at]
        for image_id in old:
            self._drop(tenant, image_id)
        return len(old)

    def items(self) -> Iterable[tuple[tuple[str, str], Binding]]:
        """All bindings, least recently used first."""
        return list(self._bound.items())

    def sweep(self) -> None:
        """Forget ids that nobody used within the idle time."""
        limit = self._clock() - self.idle_ttl_s
        while self._bound and next(iter(self._bound.values())).used < limit:
            self._drop(*next(iter(self._bound)))

    def _put(self, tenant: str, image_id: str, binding: Binding) -> Binding:
        self._drop(tenant, image_id)
        binding = replace(binding, used=self._clock())
        self._bound[tenant, image_id] = binding
        self._ids.setdefault((tenant, binding.digest), set()).add(image_id)
        while len(self._bound) > self._limit:
            self._drop(*next(iter(self._bound)))
        return binding

    def _drop(self, tenant: str, image_id: str) -> None:
        binding = self._bound.pop((tenant, image_id), None)
        if binding is None:
            return
        ids = self._ids[tenant, binding.digest]
        ids.discard(image_id)
        if not ids:
            del self._ids[tenant, binding.digest]
