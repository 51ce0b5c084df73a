"""Places for coroutines: each waits for its tenant's turn, as `deployments.fairness.queue` gives it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from deployments.fairness.flows import Share, State, Ticket
from deployments.fairness.queue import FairQueue, QueueFull


class Places:
    """The places of one queue. For one event loop."""

    def __init__(self, queue: FairQueue) -> None:
        self.queue = queue

    async def enter(self, share: Share) -> Ticket:
        """Wait for a place; give the ticket back to `queue.leave`. Raises QueueFull, at once or when another tenant
        needs the room. A cancelled wait gives its place up."""
        ticket = self.queue.join(share)
        if ticket.state is State.WAITING:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            ticket.changed = partial(_end, turn)
            try:
                await turn
            except asyncio.CancelledError:
                self.queue.leave(ticket)  # its turn may have come meanwhile
                raise
        if ticket.state is State.DISPLACED:
            raise QueueFull
        return ticket

    @asynccontextmanager
    async def place(self, share: Share) -> AsyncIterator[Ticket]:
        """A place for the time of a block, which is its cost. Raises QueueFull."""
        ticket = await self.enter(share)
        try:
            yield ticket
        finally:
            self.queue.leave(ticket, self.queue.clock() - ticket.started)


def _end(turn: "asyncio.Future[None]") -> None:
    if not turn.done():  # it was cancelled
        turn.set_result(None)
