"""Request bodies on their way: how many, how many bytes, how fast. They have a budget of their own, so that a body that
does not arrive holds no place for work.

Every owner has a share of the budget: a tenant, or all clients together that have shown no valid key yet. So no tenant
keeps the others' bodies out, and clients without a key keep out nobody who has one.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager

from deployments.protocol import Overloaded
from serve_app.http.errors import SlowBody
from serve_app.settings import Settings

STRANGERS = ""
"""The owner of the bodies of clients that have shown no valid key. No tenant has an empty name."""
SHARE_OF_STRANGERS = 0.25
SHARE_OF_A_TENANT = 0.75
WINDOW_S = 10.0
WINDOW_BYTES = 128 * 1024
"""So many bytes must come in every window, unless the body ends: 13 KB/s."""


class Arrivals:
    """The bodies on their way to one ingress replica. For one event loop."""

    def __init__(self, settings: Settings, *, alone: bool) -> None:
        """alone: there is only one tenant, which may have the whole budget."""
        self._most = settings.max_bodies
        self._most_bytes = int(settings.max_bodies_bytes)
        self._timeout_s = settings.body_timeout_s
        self._retry_after_s = settings.retry_after_s
        self._alone = alone
        self._count: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()

    @contextmanager
    def begin(self, tenant: str | None) -> Iterator["Arriving"]:
        """A body on its way until the end of the block. tenant: None for a client that has shown no valid key. Raises
        Overloaded where the owner's share is used up."""
        body = Arriving(self, STRANGERS if tenant is None else tenant)
        self.hold(body.owner, 1, 0)
        try:
            yield body
        finally:
            self.give_back(body.owner, 1, body.received)

    def hold(self, owner: str, count: int, size: int) -> None:
        """Take from the owner's share. Raises Overloaded, and then nothing is taken."""
        share = SHARE_OF_STRANGERS if owner == STRANGERS else 1.0 if self._alone else SHARE_OF_A_TENANT
        if count and self._count[owner] + count > max(1, int(self._most * share)):
            raise Overloaded(self._retry_after_s)
        # One body alone always fits, whatever the shares: the limit on bodies applies to it.
        if size and self._count[owner] > 1 and self._bytes[owner] + size > self._most_bytes * share:
            raise Overloaded(self._retry_after_s)
        self._count[owner] += count
        self._bytes[owner] += size

    def give_back(self, owner: str, count: int, size: int) -> None:
        """The opposite of `hold`."""
        self._count[owner] -= count
        self._bytes[owner] -= size
        if not self._count[owner]:
            del self._count[owner], self._bytes[owner]

    @property
    def timeout_s(self) -> float:
        """Most seconds for one body."""
        return self._timeout_s


class Arriving:
    """One body on its way."""

    def __init__(self, budget: Arrivals, owner: str) -> None:
        self._budget = budget
        self.owner = owner
        self.received = 0
        """Bytes so far."""

    def belongs_to(self, tenant: str) -> None:
        """Its client has shown a valid key: from now on the body counts as the tenant's. Raises Overloaded."""
        self._budget.hold(tenant, 1, self.received)
        self._budget.give_back(self.owner, 1, self.received)
        self.owner = tenant

    async def chunks(self, stream: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
        """The stream's chunks as they come. Raises Overloaded when the owner's bytes are used up, and SlowBody when
        fewer come than a body must bring, or the whole takes too long."""
        end = time.monotonic() + self._budget.timeout_s
        window_ends, window_bytes = time.monotonic() + WINDOW_S, 0
        while True:
            left = min(end, window_ends) - time.monotonic()
            try:
                async with asyncio.timeout(left) as timer:
                    chunk = await anext(stream, None)
            except TimeoutError:
                if not timer.expired():
                    raise
                raise SlowBody from None
            if chunk is None:
                return
            self._budget.hold(self.owner, 0, len(chunk))
            self.received += len(chunk)
            window_bytes += len(chunk)
            if window_bytes >= WINDOW_BYTES:
                window_ends, window_bytes = time.monotonic() + WINDOW_S, 0
            yield chunk
