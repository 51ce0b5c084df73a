"""The store on a Valkey or Redis server, from version 6.2 on: a script for each step that belongs together."""

from collections.abc import Iterable
from functools import partial

from deployments.config import MOST_IMAGES, StoreConfig
from deployments.keys import digest_in
from deployments.messages import StoredImage
from deployments.observe.metrics import NAMES, Metrics
from deployments.protocol import StoreAway
from deployments.store.protocol import MOST_IDS, Deletion, KeptFile, NewImage, TenantDigest, Usage
from deployments.store.steps import Steps, text_of
from sam3_engine.types import ImageSize

TOUCHED_AT_ONCE = 1000


class ValkeyStore:
    """`deployments.store.protocol.Store`. For one event loop. It connects with its first call."""

    def __init__(self, config: StoreConfig, metrics: Metrics) -> None:
        """Raises ValueError for a URL that means nothing, OSError for a file of the password that cannot be read."""
        fixed = int(config.idle_ttl_s * 1000), config.cold_bytes
        self._steps = Steps(config, metrics, partial(script, most_images=config.most_images), fixed)
        self._metrics = metrics
        self._run = self._steps.run
        self._latest = -1
        """The latest stamp of the server's clock that this process has heard; -1: none yet."""

    async def put(self, image: NewImage) -> int:
        """See Store."""
        size = image.size.width, image.size.height
        quota = "" if image.quota is None else image.quota
        born, evicted = await self._run(
            "put", image.tenant, image.digest, image.content, *size, image.image_id or "", quota
        )
        if evicted:
            self._metrics.add(NAMES.evictions, evicted, reason="budget", tier="cold")
        return self._heard(int(born))

    async def bind(self, tenant: str, image_id: str, digest: str) -> bool:
        """See Store."""
        return bool(await self._run("bind", tenant, image_id, digest))

    async def resolve(self, tenant: str, image_id: str) -> str | None:
        """See Store."""
        name = f"{self._steps.prefix}ids:{tenant}"
        client = self._steps.client
        found: bytes | None = await self._steps.timed("resolve", lambda: client.hget(name, image_id))
        return found.decode() if found else None

    async def file(self, tenant: str, digest: str) -> KeptFile | None:
        """See Store."""
        found = await self._run("file", tenant, digest)
        return KeptFile(found[0], _size(found[1], found[2]), int(found[3])) if found else None

    async def born(self, tenant: str, digest: str) -> int | None:
        """See Store."""
        found: int | None = await self._run("born", tenant, digest)
        return found

    async def delete(self, tenant: str, image_id: str) -> Deletion | None:
        """See Store."""
        found = await self._run("delete", tenant, image_id, digest_in(image_id) or "")
        return Deletion(found[0].decode(), self._heard(int(found[1])), bool(found[2])) if found else None

    async def images(self, tenant: str) -> list[StoredImage]:
        """See Store."""
        found = [
            StoredImage(
                digest=digest.decode(),
                size=_size(width, height),
                source_bytes=int(nbytes),
                age_s=max(0, age) / 1e6,
                ids=tuple(sorted(image_id.decode() for image_id in ids)),
            )
            for digest, width, height, nbytes, age, ids in await self._run("images", tenant)
        ]
        return sorted(found, key=lambda image: image.age_s)

    async def touch(self, used: Iterable[TenantDigest]) -> None:
        """See Store."""
        pairs = list(used)
        for start in range(0, len(pairs), TOUCHED_AT_ONCE):
            words = [word for pair in pairs[start : start + TOUCHED_AT_ONCE] for word in pair]
            await self._run("touch", *words)

    async def sweep(self) -> Usage:
        """See Store."""
        return Usage(*map(int, await self._run("sweep")))

    async def now(self) -> int:
        """See Store."""
        return self._heard(int(await self._run("now")))

    async def earliest(self) -> int:
        """See Store."""
        if self._latest < 0:
            await self.now()
        return self._latest + 1

    async def answers(self) -> bool:
        """See Store."""
        try:
            return bool(await self._steps.timed("ping", self._steps.client.ping))
        except StoreAway:
            return False

    async def check(self) -> None:
        """Raises StoreAway with the reason why this server cannot be the store, for people to read."""
        try:
            await self._run("now")
        except StoreAway as error:
            raise StoreAway(f"the store cannot be used: {error.__cause__}") from error

    def _heard(self, stamp: int) -> int:
        self._latest = max(self._latest, stamp)
        return stamp

    async def close(self) -> None:
        """Close the connections."""
        await self._steps.close()


def script(name: str, most_images: int = MOST_IMAGES) -> str:
    """The text of a script."""
    return f"local most_ids, most_images = {MOST_IDS}, {most_images}\n" + text_of("common", name)


def _size(width: bytes, height: bytes) -> ImageSize:
    return ImageSize(height=int(height), width=int(width))
