"""Admission: the places of one ingress replica, by tenant. A request that cannot be answered soon is refused.

A request is checked when its tenant is known: before its body is read, where the key is outside of it. It takes its
place when all that it needs is here, the body and images from URLs included. It gives the place back when its answer
begins: a slow client holds no place. `deployments.fairness.queue` says whose turn it is.
"""

import time
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.fairness.flows import Share, State
from deployments.fairness.limit import Limit
from deployments.fairness.places import Places
from deployments.fairness.queue import FairQueue, QueueFull, Rules
from deployments.protocol import Overloaded, Timings
from serve_app.http.around.exchange import Exchange

BATCH_PATIENCE = 20.0
"""A batch request may wait so many times as long as others before its tenant's next ones are refused."""
LONGEST_AFTER_S = 30.0
"""The longest `Retry-After`."""
STAGE = "admission"
"""Name of the time in which a request waited for its turn."""
NO_WORK = (STAGE, "queue")
"""Stages in which a request only waits."""


class Admission:
    """The places. most: requests inside. shared: see `Rules`. max_wait_s: how long requests should wait at most."""

    def __init__(
        self,
        *,
        most: int,
        shared: int,
        max_wait_s: float,
        retry_after_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._window = Limit(most, max_wait_s)
        self._retry_after_s = retry_after_s
        self._places = Places(
            FairQueue(
                Rules(most, shared),
                lambda: self._window.value,
                limit=lambda share: Limit(most, max_wait_s * (BATCH_PATIENCE if share.batch else 1.0)),
                clock=clock,
            )
        )

    def check(self, share: Share) -> None:
        """Raises Overloaded where a request of this tenant would be refused now."""
        if self._places.queue.would_refuse(share):
            raise self._refusal(share)

    def requests_of(self, share: Share) -> tuple[int, int]:
        """A tenant's requests here: under way, and waiting for their turn."""
        flow = self._places.queue.flow(share)
        return (flow.under_way, len(flow.waiting)) if flow else (0, 0)

    async def enter(self, share: Share, exchange: Exchange) -> None:
        """Wait for a place, which `leave` gives back. Raises Overloaded."""
        assert exchange.ticket is None
        try:
            ticket = await self._places.enter(share)
        except QueueFull:
            raise self._refusal(share) from None
        exchange.ticket = ticket
        if ticket.inside == 1 and ticket.flow.limit:
            ticket.flow.limit.opened(ticket.joined)
        if ticket.beside == 1:
            self._window.opened(ticket.started)
        if ticket.started > ticket.joined:
            exchange.timings.add({STAGE: ticket.started - ticket.joined})

    def _refusal(self, share: Share) -> Overloaded:
        """Come again when half of the tenant's queue is gone."""
        flow = self._places.queue.flow(share)
        rate = flow.limit.per_second() if flow and flow.limit else 0.0
        seconds = flow.inside / rate / 2 if flow and rate else 0.0
        return Overloaded(max(self._retry_after_s, min(seconds, LONGEST_AFTER_S)))

    def leave(self, exchange: Exchange) -> None:
        """Give a request's place back, if it has one, and learn from its waiting times."""
        ticket = exchange.ticket
        if ticket is None or ticket.state is not State.UNDER_WAY:
            return
        now, queue, waited_s = self._clock(), self._places.queue, exchange.timings.waited_s
        if ticket.flow.limit:
            in_all = ticket.started - ticket.joined + waited_s
            ticket.flow.limit.answered(ticket.inside, in_all, ticket.joined, now)
        # While tenants share, fewer requests are under way than could be, so their waiting times show nothing.
        if not ticket.narrow and not queue.narrow:
            self._window.answered(ticket.beside, waited_s, ticket.started, now)
        queue.leave(ticket, work_s(exchange.timings))


def work_s(timings: Timings) -> float | None:
    """Seconds of work in a request, of all processes; None where the model was not asked."""
    return sum(seconds for stage, seconds in timings.stages.items() if stage not in NO_WORK) or None


class GiveBack:
    """ASGI middleware: gives a request's place back when its answer begins, or when it ends without one."""

    def __init__(self, app: ASGIApp, *, admission: Admission) -> None:
        self._app = app
        self._admission = admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange: Exchange = scope["state"]["exchange"]

        async def send_without_place(message: Message) -> None:
            self._admission.leave(exchange)
            await send(message)

        try:
            await self._app(scope, receive, send_without_place)
        finally:
            self._admission.leave(exchange)
