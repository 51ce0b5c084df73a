"""Calls to the shards of the pool, when one of them may be dead. No Ray: the shards are handed in.

A call goes to the home of what it is about. While it waits, the home is asked now and then whether it is
there; when it is not, or dies, the call goes to the shard that holds the copies, and so do those after it
until the home is back. So no call waits for a dead shard for longer than PATIENCE_S + PING_S, and an encode
may take as long as it takes. docs/retries.md sets this beside all other retries.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from deployments.pool.replication import ShardGone

PATIENCE_S = 1.0
"""A call that takes longer is taken to be lost unless its shard answers..."""
PING_S = 2.0
"""...within this."""
PROBE_S = 0.25
"""How often a shard that is away is asked whether it is back."""
GIVE_UP_S = 20.0
"""How long a call is tried when no shard that could answer it is there."""


class Failover:
    """Knows which shards are away. `ping`: asks a shard whether it is there; raises ShardGone."""

    def __init__(
        self,
        ping: Callable[[int], Awaitable[Any]],
        on_failover: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ping = ping
        self._on_failover = on_failover
        self._clock = clock
        self._away: dict[int, asyncio.Task[None]] = {}
        """Shards that did not answer, and what waits for each to be back."""

    async def call(self, shards: Sequence[int], ask: Callable[[int], Awaitable[Any]]) -> Any:
        """The answer of the first of `shards` (the home first) that is there. `ask` raises ShardGone for a
        shard that dies; its other errors are raised as they are. Raises ShardGone when all are away."""
        end = self._clock() + GIVE_UP_S
        while True:
            for shard in [shard for shard in shards if shard not in self._away] or shards:
                try:
                    return await self._ask(shard, ask)
                except ShardGone:
                    self._miss(shard)
                    self._on_failover()
            if self._clock() > end:
                raise ShardGone
            await asyncio.sleep(PROBE_S)

    async def _ask(self, shard: int, ask: Callable[[int], Awaitable[Any]]) -> Any:
        """One shard's answer, or ShardGone as soon as it is known not to be there."""
        answer = asyncio.ensure_future(ask(shard))
        answer.add_done_callback(_look_at)
        try:
            while True:
                await asyncio.wait({answer}, timeout=PATIENCE_S)
                if answer.done():
                    return answer.result()
                await self._there(shard)
        finally:
            if not answer.done():
                answer.cancel()

    async def _there(self, shard: int) -> None:
        try:
            async with asyncio.timeout(PING_S):
                await self._ping(shard)
        except TimeoutError:
            raise ShardGone from None

    def _miss(self, shard: int) -> None:
        if shard not in self._away:
            self._away[shard] = asyncio.create_task(self._wait_for(shard))

    async def _wait_for(self, shard: int) -> None:
        while True:
            await asyncio.sleep(PROBE_S)
            try:
                await self._there(shard)
            except ShardGone:
                continue
            del self._away[shard]
            return


def _look_at(answer: asyncio.Future[Any]) -> None:
    """Where the ping is the first to tell of a death, nobody else looks at the answer's error, and asyncio warns."""
    if not answer.cancelled():
        answer.exception()
