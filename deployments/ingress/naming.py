"""The image that a request's id names, and the store's part in it. No torch, no Ray.

An id that is made of a digest names that content: the store is not asked. A chosen id is looked up there for each
request, while the decoder already works on the image that this process believes it to name. A request that brings its
image is about that image, and is answered when its chosen id names it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from cachetools import LRUCache

from deployments.keys import derived_id, digest_in
from deployments.protocol import ImageReference, OtherContent, UnknownImage
from deployments.store.protocol import Store

T = TypeVar("T")

MOST_BELIEVED = 100_000


class Naming:
    """One process's knowledge of chosen ids."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._believed: LRUCache[tuple[str, str], str] = LRUCache(MOST_BELIEVED)

    async def known(self, tenant: str, image_id: str, ask: Callable[[str], Awaitable[T]]) -> T:
        """The answer about the image that an id names. ask: gets the digest. Raises UnknownImage, StoreAway."""
        if digest := digest_in(image_id):
            return await ask(digest)
        name = tenant, image_id
        confirming = asyncio.ensure_future(self._store.resolve(*name))
        asking: asyncio.Future[T] | None = None
        try:
            believed = self._believed.get(name)
            if believed is not None:
                asking = asyncio.ensure_future(ask(believed))
            named = await confirming
            if named is None:
                self._believed.pop(name, None)
                raise UnknownImage(image_id)
            self._believed[name] = named
            return await (asking if asking is not None and named == believed else ask(named))
        finally:
            for task in (confirming, asking):
                leave(task)

    def believe(self, tenant: str, image_id: str, digest: str) -> None:
        """The store has just said which image an id names."""
        self._believed[tenant, image_id] = digest


def id_of(image: ImageReference, digest: str) -> str:
    """The id of an image that a request brings. Raises OtherContent."""
    if image.image_id and digest_in(image.image_id) not in (None, digest):
        raise OtherContent
    return image.image_id or derived_id(digest)


def chosen(image: ImageReference) -> str | None:
    """The id that the client chose for an image."""
    return image.image_id if image.image_id and not digest_in(image.image_id) else None


def leave(task: "asyncio.Future[Any] | None") -> None:
    """End work whose result nobody looks at."""
    if task is not None and not task.cancel() and not task.cancelled():
        task.exception()
