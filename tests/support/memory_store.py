"""The store in this process's memory: the rules of the store's scripts in Python, for tests of its callers."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from deployments.config import MOST_IMAGES
from deployments.keys import digest_in
from deployments.messages import StoredImage
from deployments.protocol import StoreAway
from deployments.store.protocol import MOST_IDS, Deletion, KeptFile, NewImage, TenantDigest, Usage
from sam3_engine.types import ImageSize


@dataclass
class Kept:
    size: ImageSize
    born: int
    content: bytes = b""
    used: float = 0.0


@dataclass
class MemoryStore:
    """`deployments.store.protocol.Store`. `clock`: seconds. `away`: it does not answer. `calls`: the names of
    all steps. `gate`: binding and looking up wait for it."""

    cold_bytes: int = 10_000
    idle_ttl_s: float = 60.0
    most_images: int = MOST_IMAGES
    clock: Callable[[], float] = lambda: 0.0
    away: bool = False
    calls: list[str] = field(default_factory=list)
    gate: asyncio.Event | None = None

    def __post_init__(self) -> None:
        self._stamp = 0
        self._images: dict[TenantDigest, Kept] = {}
        """Least recently used first."""
        self._ids: dict[tuple[str, str], str] = {}
        self._quotas: dict[str, int] = {}

    async def put(self, image: NewImage) -> int:
        key = self._step("put", image.tenant, image.digest)
        kept = self._images.get(key) or Kept(image.size, self._next())
        if not kept.content and len(image.content) <= self.cold_bytes:
            kept.content = image.content
        self._images[key] = kept
        self._use(key)
        if image.image_id:
            self._bind(image.tenant, image.image_id, image.digest)
        while len(self._own(image.tenant)) > self.most_images:
            self._remove(self._own(image.tenant)[0])
        if image.quota is not None:
            self._quotas[image.tenant] = image.quota
        most = self._quotas.get(image.tenant)
        while most is not None and self._bytes(image.tenant) > most:
            self._evict(image.tenant)
        while sum(map(self._bytes, self._tenants())) > self.cold_bytes:
            self._evict(max(self._tenants(), key=self._bytes))
        return kept.born

    async def bind(self, tenant: str, image_id: str, digest: str) -> bool:
        key = self._step("bind", tenant, digest)
        await self._wait()
        if key not in self._images:
            return False
        self._use(key)
        self._bind(tenant, image_id, digest)
        return True

    async def resolve(self, tenant: str, image_id: str) -> str | None:
        self._step("resolve")
        await self._wait()
        return self._ids.get((tenant, image_id))

    async def file(self, tenant: str, digest: str) -> KeptFile | None:
        key = self._step("file", tenant, digest)
        kept = self._images.get(key)
        if kept is None or not kept.content:
            return None
        self._use(key)
        return KeptFile(kept.content, kept.size, kept.born)

    async def born(self, tenant: str, digest: str) -> int | None:
        kept = self._images.get(self._step("born", tenant, digest))
        return kept.born if kept else None

    async def delete(self, tenant: str, image_id: str) -> Deletion | None:
        self._step("delete")
        digest = digest_in(image_id) or self._ids.get((tenant, image_id))
        if digest is None:
            return None
        return Deletion(digest, self._next(), self._remove((tenant, digest)))

    async def images(self, tenant: str) -> list[StoredImage]:
        self._step("images")
        newest = sorted(self._images.items(), key=lambda item: -item[1].born)
        return [
            StoredImage(digest, kept.size, len(kept.content), 0.0, self._ids_of(tenant, digest))
            for (owner, digest), kept in newest
            if owner == tenant
        ]

    async def touch(self, used: Iterable[TenantDigest]) -> None:
        self._step("touch")
        for key in used:
            if key in self._images:
                self._use(key)

    async def sweep(self) -> Usage:
        self._step("sweep")
        limit = self.clock() - self.idle_ttl_s
        idle = [key for key, kept in self._images.items() if kept.used < limit]
        for key in idle:
            self._remove(key)
        held = [self._bytes(tenant) for tenant in self._tenants()]
        files = sum(bool(kept.content) for kept in self._images.values())
        return Usage(files, sum(held), max(held, default=0), len(idle))

    async def now(self) -> int:
        self._step("now")
        return self._next()

    async def earliest(self) -> int:
        return self._stamp + 1

    async def answers(self) -> bool:
        return not self.away

    def forget_everything(self) -> None:
        """Lose all data, as a server that came back without its files."""
        self._images.clear()
        self._ids.clear()

    async def _wait(self) -> None:
        if self.gate:
            await self.gate.wait()

    def _bind(self, tenant: str, image_id: str, digest: str) -> None:
        self._ids[tenant, image_id] = digest
        others = [one for one in self._ids_of(tenant, digest) if one != image_id]
        for other in others[: max(0, len(others) + 1 - MOST_IDS)]:
            del self._ids[tenant, other]
        while max(len(self._own(tenant)), sum(owner == tenant for owner, _ in self._ids)) > self.most_images:
            self._remove(self._own(tenant)[0])

    def _own(self, tenant: str) -> list[TenantDigest]:
        return [key for key in self._images if key[0] == tenant]

    def _step(self, name: str, tenant: str = "", digest: str = "") -> TenantDigest:
        self.calls.append(name)
        if self.away:
            raise StoreAway
        return tenant, digest

    def _next(self) -> int:
        self._stamp += 1
        return self._stamp

    def _use(self, key: TenantDigest) -> None:
        kept = self._images.pop(key)
        kept.used = self.clock()
        self._images[key] = kept

    def _tenants(self) -> set[str]:
        return {tenant for tenant, _ in self._images}

    def _bytes(self, tenant: str) -> int:
        return sum(len(kept.content) for (owner, _), kept in self._images.items() if owner == tenant)

    def _evict(self, tenant: str) -> None:
        oldest = next(kept for (owner, _), kept in self._images.items() if owner == tenant and kept.content)
        oldest.content = b""

    def _ids_of(self, tenant: str, digest: str) -> tuple[str, ...]:
        return tuple(
            sorted(name for (owner, name), found in self._ids.items() if (owner, found) == (tenant, digest))
        )

    def _remove(self, key: TenantDigest) -> bool:
        for image_id in self._ids_of(*key):
            del self._ids[key[0], image_id]
        return self._images.pop(key, None) is not None
