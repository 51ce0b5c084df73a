"""The store's promises: `Store`. No Ray, no client of a server."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from deployments.messages import StoredImage
from sam3_engine.types import ImageSize

MOST_IDS = 64
"""Chosen ids of one image, at most. A further one takes the place of another, which then names nothing."""
TenantDigest = tuple[str, str]
"""An image of a tenant, under any model."""


@dataclass(frozen=True, slots=True)
class NewImage:
    """An image file that a tenant sent. `image_id`: the id that its client chose; None: it is known by its content.
    `quota`: most bytes of this tenant's files from now on; None: as before."""

    tenant: str
    digest: str
    content: bytes
    size: ImageSize
    image_id: str | None = None
    quota: int | None = None


@dataclass(frozen=True, slots=True)
class KeptFile:
    """An image file in the store. `born`: stamp of the `put` that made the image known."""

    content: bytes
    size: ImageSize
    born: int


@dataclass(frozen=True, slots=True)
class Deletion:
    """A deletion. It covers all that was born no later than `stamp`. `found`: the store had the image."""

    digest: str
    stamp: int
    found: bool


@dataclass(frozen=True, slots=True)
class Usage:
    """The files in the store, and the images that were idle too long and have just left it."""

    files: int
    nbytes: int
    largest: int
    """Bytes of the tenant that holds most."""
    idle: int


class Store(Protocol):
    """Ids, source files and deletions of all tenants. Each method is one atomic step, and every later call of any
    process sees it. Every method raises StoreAway where no server answers or it refuses the step."""

    async def put(self, image: NewImage) -> int:
        """Keep a file, and have its chosen id name it. Returns the stamp of the image's birth: an image that is there
        already keeps its own. Beyond the budget, the tenant that holds most loses its least recently used file."""
        ...

    async def bind(self, tenant: str, image_id: str, digest: str) -> bool:
        """Have a chosen id name an image. False, and nothing done, where the store does not know the image."""
        ...

    async def resolve(self, tenant: str, image_id: str) -> str | None:
        """The digest that a chosen id names."""
        ...

    async def file(self, tenant: str, digest: str) -> KeptFile | None:
        """An image's file; None where there is none any more."""
        ...

    async def born(self, tenant: str, digest: str) -> int | None:
        """Stamp of an image's birth; None for an image that the store does not know."""
        ...

    async def delete(self, tenant: str, image_id: str) -> Deletion | None:
        """Forget the image that an id names, its file and all of its ids. None for a chosen id that names nothing."""
        ...

    async def images(self, tenant: str) -> list[StoredImage]:
        """A tenant's images, newest first."""
        ...

    async def touch(self, used: Iterable[TenantDigest]) -> None:
        """Images that were asked for since the last call: they are not idle."""
        ...

    async def sweep(self) -> Usage:
        """Forget images that were idle too long."""
        ...

    async def now(self) -> int:
        """A stamp that is later than all before."""
        ...

    async def earliest(self) -> int:
        """A stamp no later than the birth of any image that comes to the store from now on, and later than every
        deletion that this process has heard of here. Asks the server only once."""
        ...

    async def answers(self) -> bool:
        """True if a server is there. Raises nothing."""
        ...
