"""The order of several tenants' requests in front of a bounded number of places. No asyncio.

A request's states:

    absent --join--> UNDER_WAY --leave--> GONE              there is a place
    absent --join--> WAITING --its turn--> UNDER_WAY        there is none yet
                     WAITING --leave--> GONE                its client has gone
                     WAITING --no room left--> DISPLACED    by a tenant below its share of the room
    absent --join--> refused (QueueFull)                    the room is full, and its tenant has its share

Order among tenants of a class: start-time fair queueing with depth, SFQ(D) (Goyal, Vin, Cheng: "Start-time fair
queuing", SIGCOMM 1996; Jin, Chase, Kaur: "Interposed proportional sharing for a storage service utility", SIGMETRICS
2004). Each tenant has a tag, its virtual time: the next place goes to the waiting tenant with the smallest tag, which
then grows by cost / weight. A tenant that was away begins at the tag of the request that started last, so it saves up
nothing. The cost of a request is known when it is done; until then its tenant's mean is charged, and corrected then.

Order between the classes: interactive before batch, but after BATCH_TURN interactive requests a batch request goes.

A place that is taken cannot be taken back. So while an interactive tenant and another one are active, only `shared`
requests are under way, one of these places is kept from batch tenants, and an interactive tenant with nothing under way
waits for none of them. A tenant is active for LINGER_S after its last request: a person needs seconds between two
clicks. A tenant that is alone has all places.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from deployments.fairness.flows import Flow, Share, State, Ticket, drop_idle
from deployments.fairness.limit import Limit

LINGER_S = 10.0
"""Seconds after its last request for which a tenant counts as active."""
BATCH_TURN = 8
"""Interactive requests that start while a batch request waits, before that one goes first."""


class QueueFull(Exception):
    """The room is full and the tenant has its share of it, or its requests wait too long already."""


@dataclass(frozen=True, slots=True)
class Rules:
    """The fixed numbers of a queue. `most`: requests inside, waiting ones included. `shared`: places while an
    interactive tenant and another one are active. `per_tenant`: places of one tenant. `spare`: further places, each for
    a tenant that has nothing under way."""

    most: int
    shared: int
    per_tenant: int = 2**31
    spare: int = 0


class FairQueue:
    """See the top of the module. window: the number of places for a tenant that is alone, now. limit: a new tenant's
    own limit. clock: in seconds."""

    def __init__(
        self,
        rules: Rules,
        window: Callable[[], int],
        *,
        limit: Callable[[Share], Limit] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.rules = rules
        self.under_way = 0
        self.inside = 0
        self._window = window
        self._limit = limit
        self.clock = clock
        self._flows: dict[bool, OrderedDict[str, Flow]] = {False: OrderedDict(), True: OrderedDict()}
        """Active tenants by class (batch or not), the one that was used longest ago first."""
        self._now: dict[bool, float] = {False: 0.0, True: 0.0}
        """The virtual time of each class: the tag of the request that started last."""
        self._batch_under_way = 0
        self._passed_over = 0
        """Interactive requests that started while a batch request waited."""

    @property
    def narrow(self) -> bool:
        """True while an interactive tenant and another one are active: they share the places."""
        interactive, batch = len(self._flows[False]), len(self._flows[True])
        return interactive > 0 and interactive + batch > 1

    def flows(self) -> Iterator[Flow]:
        """The active tenants."""
        for flows in self._flows.values():
            yield from flows.values()

    def flow(self, share: Share) -> Flow | None:
        """A tenant, if it is active."""
        return self._flows[share.batch].get(share.tenant)

    def join(self, share: Share) -> Ticket:
        """A request comes. It is under way now, or waits for its turn. Raises QueueFull."""
        flow, now = self._flow(share)
        self._make_room(flow)
        ticket = Ticket(flow, now, flow.inside + 1)
        if not flow.waiting:
            flow.tag = max(flow.tag, self._now[share.batch])
        flow.waiting.append(ticket)
        self.inside += 1
        self._start_next()
        return ticket

    def leave(self, ticket: Ticket, cost: float | None = None) -> None:
        """A request is done, or is not wanted any more. cost: of its work, in any unit; None: as expected. A second
        call does nothing."""
        flow = ticket.flow
        if ticket.state is State.WAITING:
            flow.waiting.remove(ticket)
        elif ticket.state is State.UNDER_WAY:
            flow.under_way -= 1
            self.under_way -= 1
            self._batch_under_way -= flow.share.batch
            if cost is not None:
                flow.charge(ticket.charged, cost)
        else:
            return
        self.inside -= 1
        ticket.state = State.GONE
        flow.used = self.clock()
        if self._flows[flow.share.batch].get(flow.share.tenant) is flow:
            self._flows[flow.share.batch].move_to_end(flow.share.tenant)
        self._start_next()

    def would_refuse(self, share: Share) -> bool:
        """True if a request of this tenant would be refused now, with QueueFull."""
        flow, _ = self._flow(share)
        try:
            self._victim(flow)
        except QueueFull:
            return True
        return False

    def _flow(self, share: Share) -> tuple[Flow, float]:
        """The tenant's record, used now; and the time."""
        now = self.clock()
        flows = self._flows[share.batch]
        flow = flows.get(share.tenant)
        if flow is None:
            limit = self._limit(share) if self._limit else None
            flow = flows[share.tenant] = Flow(share, limit, now, cost=self._mean_cost())
        else:
            flow.share, flow.used = share, now  # the weight may have changed
            flows.move_to_end(share.tenant)
        for each in self._flows.values():
            drop_idle(each, now - LINGER_S)
        return flow, now

    def _mean_cost(self) -> float:
        costs = [flow.cost for flow in self.flows()]
        return sum(costs) / len(costs) if costs else 1.0

    def _make_room(self, flow: Flow) -> None:
        """Raises QueueFull."""
        victim = self._victim(flow)
        if victim is not None:
            ticket = victim.waiting.pop()  # its newest: the others have waited longer
            ticket.state = State.DISPLACED
            self.inside -= 1
            if ticket.changed:
                ticket.changed()

    def _victim(self, flow: Flow) -> Flow | None:
        """The tenant that gives a waiting request up for one more of `flow`; None where there is room. Raises
        QueueFull.

        A tenant with nothing inside is never refused: where nobody waits, there are as many more inside as tenants.
        """
        if flow.inside and flow.limit and flow.inside >= flow.limit.value:
            raise QueueFull
        if self.inside < self.rules.most:
            return None
        weights = sum(each.share.weight for each in self.flows())
        per_weight = self.rules.most / weights
        if flow.inside >= max(1.0, per_weight * flow.share.weight):
            raise QueueFull
        over = [
            each for each in self.flows() if each.waiting and each.inside > per_weight * each.share.weight
        ]
        return max(over, key=lambda each: each.inside / each.share.weight, default=None)

    def _start_next(self) -> None:
        """Start waiting requests while there are places."""
        while self.inside > self.under_way and (flow := self._next()):
            self._start(flow)

    def _next(self) -> Flow | None:
        """The tenant whose turn it is; None where all that wait have to go on waiting."""
        window, narrow = self._window(), self.narrow
        if self.under_way >= window + self.rules.spare:
            return None
        places = min(self.rules.shared, window) if narrow else window
        due = self._passed_over >= BATCH_TURN
        best: dict[bool, Flow | None] = {False: None, True: None}
        for flow in self.flows():
            if not flow.waiting or flow.under_way >= self.rules.per_tenant:
                continue
            batch = flow.share.batch
            if batch and narrow:
                if self._batch_under_way >= max(1, places - 1):
                    continue
                may = due or self.under_way < places
            else:
                may = flow.under_way == 0 or self.under_way < places
            first = best[batch]
            if may and (first is None or flow.tag < first.tag):
                best[batch] = flow
        if best[True] and (due or not best[False]):
            return best[True]
        return best[False]

    def _start(self, flow: Flow) -> None:
        batch = flow.share.batch
        ticket = flow.waiting.popleft()
        flow.under_way += 1
        self.under_way += 1
        self._batch_under_way += batch
        self._now[batch] = max(self._now[batch], flow.tag)
        flow.tag += flow.cost / flow.share.weight
        batch_waits = self.inside > self.under_way and any(f.waiting for f in self._flows[True].values())
        self._passed_over = self._passed_over + 1 if not batch and batch_waits else 0
        ticket.state, ticket.started, ticket.beside = State.UNDER_WAY, self.clock(), self.under_way
        ticket.narrow, ticket.charged = self.narrow, flow.cost
        if ticket.changed:
            ticket.changed()
