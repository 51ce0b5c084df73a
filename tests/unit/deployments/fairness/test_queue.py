"""The order of tenants, by a virtual clock: a server with some processors works on the requests that are under way."""

import heapq
import itertools
import math
import random
from collections import Counter, deque
from functools import partial

import pytest

from deployments.fairness.flows import Share, State, Ticket
from deployments.fairness.limit import Limit
from deployments.fairness.queue import BATCH_TURN, LINGER_S, FairQueue, QueueFull, Rules

A, B, C = Share("a"), Share("b"), Share("c")
BATCH = Share("a", batch=True)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def queue_of(
    places: int, most: int = 1000, shared: int | None = None, clock: Clock | None = None, **rules: int
) -> FairQueue:
    return FairQueue(
        Rules(most, places if shared is None else shared, **rules), lambda: places, clock=clock or Clock()
    )


class Server:
    """Clients that send the next request when the last one is answered. Requests under way are worked on in order of
    start by `processors`, `work_s` each."""

    def __init__(self, queue: FairQueue, clock: Clock, processors: int = 2, work_s: float = 0.1) -> None:
        self.queue, self.clock = queue, clock
        self._processors, self._work_s = processors, work_s
        self._clients: dict[str, tuple[Share, float, float]] = {}
        self._at: list[tuple[float, int, str, str]] = []
        self._number = itertools.count()
        self._runnable: deque[tuple[Ticket, str]] = deque()
        self._busy: dict[str, Ticket] = {}
        self.idle_s = 0.0
        self.done: Counter[str] = Counter()
        self.waits: dict[str, list[float]] = {}
        self.refused: Counter[str] = Counter()

    def clients(self, share: Share, count: int, pause_s: float = 0.0, cost: float = 1.0) -> None:
        for number in range(count):
            name = f"{share.tenant}-{number}"
            self._clients[name] = share, pause_s, cost
            self._later(0.0, "send", name)

    def run(self, seconds: float) -> None:
        end = self.clock.now + seconds
        while self._at and self._at[0][0] <= end:
            at, _, what, name = heapq.heappop(self._at)
            if self.queue.inside > self.queue.under_way and len(self._busy) < self._processors:
                self.idle_s += at - self.clock.now
            self.clock.now = at
            self._send(name) if what == "send" else self._finish(name)
        self.clock.now = end

    def _later(self, seconds: float, what: str, name: str) -> None:
        heapq.heappush(self._at, (self.clock.now + seconds, next(self._number), what, name))

    def _send(self, name: str) -> None:
        share, _, _ = self._clients[name]
        try:
            ticket = self.queue.join(share)
        except QueueFull:
            self._refuse(name)
            return
        if ticket.state is State.UNDER_WAY:
            self._begin(ticket, name)
        else:
            ticket.changed = lambda: self._changed(ticket, name)

    def _changed(self, ticket: Ticket, name: str) -> None:
        self._refuse(name) if ticket.state is State.DISPLACED else self._begin(ticket, name)

    def _refuse(self, name: str) -> None:
        self.refused[self._clients[name][0].tenant] += 1
        self._later(1.0, "send", name)

    def _begin(self, ticket: Ticket, name: str) -> None:
        self._runnable.append((ticket, name))
        self._work()

    def _work(self) -> None:
        while self._runnable and len(self._busy) < self._processors:
            ticket, name = self._runnable.popleft()
            self._busy[name] = ticket
            self._later(self._work_s * self._clients[name][2], "finish", name)

    def _finish(self, name: str) -> None:
        share, pause_s, cost = self._clients[name]
        ticket = self._busy.pop(name)
        self.waits.setdefault(share.tenant, []).append(self.clock.now - ticket.joined)
        self.done[share.tenant] += 1
        self.queue.leave(ticket, cost)
        self._later(pause_s, "send", name)
        self._work()


def served(queue_places: int, *loads: tuple[Share, int], seconds: float = 60.0, shared: int = 2) -> Server:
    clock = Clock()
    server = Server(queue_of(queue_places, shared=shared, clock=clock), clock)
    for share, count in loads:
        server.clients(share, count)
    server.run(seconds)
    return server


@pytest.mark.parametrize("share", [A, BATCH, Share("a", 0.01), Share("a", 1000.0)])
def test_whoever_is_alone_has_all_places(share: Share) -> None:
    queue = queue_of(16, shared=2)
    tickets = [queue.join(share) for _ in range(20)]
    assert [ticket.state for ticket in tickets].count(State.UNDER_WAY) == 16
    queue.leave(tickets[0])
    assert tickets[16].state is State.UNDER_WAY, "in the order in which they came"


@pytest.mark.parametrize(
    "loads",
    [
        ((A, 150), (B, 1)),
        ((BATCH, 150), (B, 1)),
        ((BATCH, 40), (B, 40), (C, 2)),
        ((A, 1), (B, 1), (C, 1)),
        ((BATCH, 100), (Share("b", batch=True), 3)),
    ],
)
def test_no_processor_is_idle_while_somebody_waits(loads: tuple[tuple[Share, int], ...]) -> None:
    """There are as many shared places as processors and one more, which batch tenants leave free."""
    assert served(16, *loads, shared=3).idle_s == 0


@pytest.mark.parametrize("places", [1, 2, 5, 16])
def test_places_are_shared_by_weight_within_one_request(places: int) -> None:
    """The bound of start-time fair queueing: 1 / weight of one tenant and of the other."""
    queue = queue_of(places, most=10_000)
    shares = [Share("a", 4.0), Share("b", 1.0), Share("c", 2.5)]
    tickets = [queue.join(share) for share in shares for _ in range(400)]
    under_way = deque(ticket for ticket in tickets if ticket.state is State.UNDER_WAY)
    started: Counter[str] = Counter()

    def start(ticket: Ticket) -> None:
        under_way.append(ticket)
        started[ticket.flow.share.tenant] += 1

    for ticket in tickets:
        ticket.changed = partial(start, ticket)
    for _ in range(400):
        queue.leave(under_way.popleft())
        normal = [started[share.tenant] / share.weight for share in shares]
        assert max(normal) - min(normal) <= 1 / 1 + 1 / 2.5


def test_a_tenant_with_dear_requests_gets_its_share_of_work_and_not_of_requests() -> None:
    clock = Clock()
    server = Server(queue_of(4, shared=4, clock=clock), clock)
    server.clients(A, 20, cost=8.0)
    server.clients(B, 20, cost=1.0)
    server.run(400)
    assert server.done["b"] / (8 * server.done["a"]) == pytest.approx(1.0, rel=0.1)


def test_interactive_goes_before_batch() -> None:
    queue = queue_of(1)
    first = queue.join(BATCH)
    batch = [queue.join(BATCH) for _ in range(3)]
    clicks = [queue.join(B) for _ in range(3)]
    queue.leave(first)
    for click in clicks:
        assert click.state is State.UNDER_WAY
        assert all(ticket.state is State.WAITING for ticket in batch)
        queue.leave(click)
    assert batch[0].state is State.UNDER_WAY


def test_batch_never_starves() -> None:
    """Ten times more interactive requests than the server can answer, of many tenants with one request each as well as
    of one with many."""
    for loads in ([(B, 200)], [(Share(f"t{number}"), 1) for number in range(50)]):
        server = served(8, (BATCH, 20), *loads, seconds=120)
        share = server.done["a"] / server.done.total()
        assert share == pytest.approx(1 / (BATCH_TURN + 1), rel=0.25)


def test_one_client_waits_little_beside_a_flood() -> None:
    alone = served(16, (B, 1))
    beside = served(16, (BATCH, 150), (B, 1))
    assert alone.done["a"] == 0
    assert not beside.refused["b"]
    typical = sorted(beside.waits["b"])[len(beside.waits["b"]) // 2]
    assert typical <= 1.01 * sorted(alone.waits["b"])[len(alone.waits["b"]) // 2], (
        "a processor is free for it"
    )
    assert beside.done.total() == pytest.approx(2 * 60 / 0.1, rel=0.05), "and none is idle"


def test_a_tenant_that_was_away_has_saved_up_nothing() -> None:
    queue = queue_of(1)
    working = queue.join(A)
    waiting = deque(queue.join(A) for _ in range(100))
    for _ in range(50):
        queue.leave(working)
        working = waiting.popleft()
    late = deque(queue.join(B) for _ in range(50))
    for _ in range(40):
        queue.leave(working)
        working = (late if late[0].state is State.UNDER_WAY else waiting).popleft()
    assert abs(len(late) - 30) <= 1, "half of the requests that started since it came"


def test_the_places_widen_again_when_the_others_have_gone() -> None:
    clock = Clock()
    queue = queue_of(16, shared=2, clock=clock)
    queue.leave(queue.join(B))
    batch = [queue.join(BATCH) for _ in range(20)]
    assert queue.under_way == 1
    clock.now += LINGER_S + 1
    queue.join(BATCH)
    assert queue.under_way == 16
    assert batch[15].state is State.UNDER_WAY


def test_an_interactive_tenant_with_nothing_under_way_waits_for_nobody() -> None:
    queue = queue_of(16, shared=2)
    assert [queue.join(A).state for _ in range(9)] == [State.UNDER_WAY] * 9
    assert queue.join(B).state is State.UNDER_WAY
    assert queue.join(B).state is State.WAITING
    assert queue.join(A).state is State.WAITING


def test_spare_places_are_for_tenants_with_nothing_under_way() -> None:
    queue = queue_of(4, spare=1)
    assert [queue.join(A).state for _ in range(5)] == [State.UNDER_WAY] * 4 + [State.WAITING]
    assert queue.join(B).state is State.UNDER_WAY
    assert queue.join(C).state is State.WAITING


def test_a_tenant_has_at_most_its_own_places() -> None:
    queue = queue_of(6, per_tenant=4)
    assert [queue.join(A).state for _ in range(5)] == [State.UNDER_WAY] * 4 + [State.WAITING]
    assert [queue.join(B).state for _ in range(3)] == [State.UNDER_WAY] * 2 + [State.WAITING]


def test_a_full_room_refuses_the_tenant_above_its_share_and_takes_in_the_one_below() -> None:
    queue = queue_of(2, most=10)
    flood = [queue.join(A) for _ in range(10)]
    with pytest.raises(QueueFull):
        queue.join(A)
    told: list[Ticket] = []
    for ticket in flood:
        ticket.changed = partial(told.append, ticket)
    clicks = [queue.join(B) for _ in range(5)]
    assert {ticket.state for ticket in clicks} <= {State.WAITING, State.UNDER_WAY}
    assert told == flood[:4:-1], "its newest requests give way"
    assert {ticket.state for ticket in told} == {State.DISPLACED}
    assert queue.inside == 10
    with pytest.raises(QueueFull):
        queue.join(B)
    with pytest.raises(QueueFull):
        queue.join(A)


def test_the_room_is_shared_by_weight() -> None:
    queue = queue_of(1, most=100)
    heavy = Share("h", 4.0)
    for share in (A, heavy, B):
        for _ in range(200):
            try:
                queue.join(share)
            except QueueFull:
                break
    for _ in range(3):  # the tenants that came first had taken more
        for share in (heavy, A, B):
            try:
                while True:
                    queue.join(share)
            except QueueFull:
                continue
    inside = {flow.share.tenant: flow.inside for flow in queue.flows()}
    assert inside["h"] == pytest.approx(4 * inside["a"], abs=4)
    assert inside["a"] == pytest.approx(inside["b"], abs=1)


def test_a_tenant_with_nothing_inside_is_never_refused() -> None:
    queue = queue_of(1, most=4)
    tenants = [Share(str(number)) for number in range(50)]
    assert all(queue.join(share) for share in tenants)
    assert queue.inside <= 50
    with pytest.raises(QueueFull):
        queue.join(tenants[0])
    assert queue.would_refuse(tenants[0])
    assert not queue.would_refuse(Share("new"))


def test_a_tenants_own_limit_counts_for_it_alone() -> None:
    queue = FairQueue(Rules(100, 2), lambda: 2, limit=lambda _: Limit(3, 1.0), clock=Clock())
    for _ in range(3):
        queue.join(A)
    with pytest.raises(QueueFull):
        queue.join(A)
    queue.join(B)


@pytest.mark.parametrize("seed", range(20))
def test_whatever_comes_and_goes_places_are_counted_right_and_all_end(seed: int) -> None:
    """Requests come, are answered and are given up in any order, with changing weights and classes."""
    rng = random.Random(seed)
    clock = Clock()
    places = rng.randint(1, 6)
    queue = queue_of(places, most=rng.randint(1, 40), shared=rng.randint(1, 4), clock=clock, spare=1)
    tickets: list[Ticket] = []
    for _ in range(1500):
        clock.now += rng.choice((0.0, 0.1, 12.0))
        if rng.random() < 0.55:
            share = Share(rng.choice("abcd"), rng.choice((0.1, 1.0, 7.0)), rng.random() < 0.4)
            try:
                tickets.append(queue.join(share))
            except QueueFull:
                continue
        elif tickets:
            queue.leave(tickets.pop(rng.randrange(len(tickets))), rng.choice((None, 0.0, 1.0, 1e9)))
        counts = Counter(ticket.state for ticket in tickets)
        assert counts[State.UNDER_WAY] == queue.under_way == sum(flow.under_way for flow in queue.flows())
        assert counts[State.WAITING] == queue.inside - queue.under_way
        assert queue.under_way <= places + 1
        assert queue.under_way or not counts[State.WAITING], "somebody waits, and nobody works"
        assert all(math.isfinite(flow.tag) for flow in queue.flows())
    while tickets:
        working = [ticket for ticket in tickets if ticket.state is State.UNDER_WAY]
        for ticket in working or tickets:
            queue.leave(ticket)
            tickets.remove(ticket)
    assert queue.inside == queue.under_way == 0


def test_leaving_twice_frees_one_place() -> None:
    queue = queue_of(2)
    first, _ = queue.join(A), queue.join(A)
    queue.leave(first)
    queue.leave(first)
    assert queue.under_way == 1


def test_tenants_that_have_gone_are_forgotten() -> None:
    clock = Clock()
    queue = queue_of(4, clock=clock)
    for number in range(1000):
        queue.leave(queue.join(Share(str(number))))
        clock.now += 1
    assert len(list(queue.flows())) <= LINGER_S + 1


@pytest.mark.parametrize("weight", [0.0, -1.0, math.inf, math.nan])
def test_a_weight_is_a_positive_number(weight: float) -> None:
    with pytest.raises(ValueError, match="weight"):
        Share("a", weight)
