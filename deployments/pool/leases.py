"""What a shard promises to decoders about ids, so that a click need not ask the pool what its image's id names.

With the digest of an id, its asker may get a lease: until the lease ends, the shard tells the lessee before the id
names another image or none. For each id:

    free      granted to a lessee                              -> held
    held      granted again, to any lessee                     -> held, until the latest end
    held      the latest end passes                            -> free
    held      the id is about to change (`changing`)           -> recalled: each lessee is told; nothing is granted
    recalled  every lessee has confirmed, or the end passes    -> changed
    changed   the change is made                               -> free

Lessees hear of recalls by asking (`listen`): the call is answered when there is something to tell, and the next call
confirms what the last one told. Clocks are each process's own: a lessee counts from its question, the shard from
its answer, so the lease of the lessee ends first. See Gray and Cheriton, "Leases" (SOSP 1989).
"""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

LEASE_S = 5.0
"""Longest that a change waits for a lessee who is gone."""
LISTEN_S = 30.0
"""How long a call of `listen` waits for something to tell."""

Name = tuple[str, str]
"""(tenant, image id)."""


@dataclass(slots=True)
class _Lease:
    digest: str
    ends: dict[str, float] = field(default_factory=dict)
    """By lessee."""


@dataclass(slots=True)
class _Mailbox:
    """What one lessee has not confirmed yet."""

    listened: float
    recalls: dict[int, tuple[Name, asyncio.Event]] = field(default_factory=dict)
    filled: asyncio.Event = field(default_factory=asyncio.Event)


class Leases:
    """The leases that one shard has granted."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._unknown_until = clock()
        self._leases: dict[Name, _Lease] = {}
        self._changing: Counter[Name] = Counter()
        self._mailboxes: dict[str, _Mailbox] = {}
        self._numbers = itertools.count(time.time_ns())  # above those of an earlier process

    def __len__(self) -> int:
        return len(self._leases)

    @property
    def lessees(self) -> set[str]:
        """The lessees that listen, or have yet to hear of a change."""
        return set(self._mailboxes)

    def expect_unknown(self) -> None:
        """Until they have ended there may be leases that others granted: this shard's earlier process, or another
        shard."""
        self._unknown_until = self._clock() + LEASE_S

    def grant(self, lessee: str, name: Name, digest: str, lease_s: float = LEASE_S) -> bool:
        """Promise a lessee to tell him first, unless the id is about to change."""
        if name in self._changing:
            return False
        lease = self._leases.setdefault(name, _Lease(digest))
        lease.digest = digest
        lease.ends[lessee] = self._clock() + lease_s
        return True

    def names_of(self, tenant: str, digest: str) -> list[Name]:
        """The ids with a lease that name an image of a tenant."""
        return [name for name, one in self._leases.items() if (name[0], one.digest) == (tenant, digest)]

    @asynccontextmanager
    async def changing(self, names: Collection[Name], unknown_s: float = 0.0) -> AsyncIterator[None]:
        """Wait until nobody relies on what the ids name; inside, they change and nothing is granted. unknown_s: for
        how long there may be leases of another shard."""
        self._changing.update(names)
        try:
            await asyncio.gather(*(self._recall(name) for name in names))
            await asyncio.sleep(max(unknown_s, self._unknown_until - self._clock()))
            yield
        finally:
            for name in names:
                self._changing[name] -= 1
                if not self._changing[name]:
                    del self._changing[name]

    async def listen(self, lessee: str, heard: int) -> tuple[list[Name], int]:
        """Ids that the lessee must ask for again, once there are any, and their number. heard: the number of the last
        call, which confirms it; 0 at first. One call per lessee at a time."""
        mailbox = self._mailboxes.setdefault(lessee, _Mailbox(self._clock()))
        mailbox.listened = self._clock()
        for number in [number for number in mailbox.recalls if number <= heard]:
            mailbox.recalls.pop(number)[1].set()
        if not mailbox.recalls:
            mailbox.filled.clear()
            try:
                async with asyncio.timeout(LISTEN_S):
                    await mailbox.filled.wait()
            except TimeoutError:
                return [], heard
        return [name for name, _ in mailbox.recalls.values()], max(mailbox.recalls, default=heard)

    def sweep(self) -> None:
        """Forget what has ended, and lessees who do not listen any more."""
        now = self._clock()
        ended = [name for name, one in self._leases.items() if max(one.ends.values()) < now]
        for name in ended:
            del self._leases[name]
        gone = [
            lessee for lessee, mailbox in self._mailboxes.items() if mailbox.listened < now - 2 * LISTEN_S
        ]
        for lessee in gone:
            del self._mailboxes[lessee]

    async def _recall(self, name: Name) -> None:
        lease, now = self._leases.get(name), self._clock()
        ends = {lessee: end for lessee, end in lease.ends.items() if end > now} if lease else {}
        if ends:
            told = [asyncio.create_task(self._tell(lessee, name)) for lessee in ends]
            try:
                await asyncio.wait(told, timeout=max(ends.values()) - now)
            finally:
                for task in told:
                    task.cancel()
        self._leases.pop(name, None)

    async def _tell(self, lessee: str, name: Name) -> None:
        mailbox = self._mailboxes.setdefault(lessee, _Mailbox(self._clock()))
        number, confirmed = next(self._numbers), asyncio.Event()
        mailbox.recalls[number] = name, confirmed
        mailbox.filled.set()
        try:
            await confirmed.wait()
        finally:
            mailbox.recalls.pop(number, None)
