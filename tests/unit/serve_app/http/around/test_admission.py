import asyncio
from collections import deque
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from deployments.fairness.flows import Share
from deployments.protocol import Overloaded, Timings
from serve_app.http.around.admission import Admission, GiveBack
from serve_app.http.around.exchange import Exchange

A, B = Share("a"), Share("b")
BATCH = Share("a", batch=True)


def admission(most: int, shared: int = 2) -> Admission:
    return Admission(most=most, shared=shared, max_wait_s=1.0, retry_after_s=2.5)


class Inner:
    """An application whose requests take a place, begin their answers when `go` is set, and end when `end` is."""

    def __init__(self, admission: Admission, share: Share = A) -> None:
        self.go, self.end = asyncio.Event(), asyncio.Event()
        self.end.set()
        self.working = 0
        self._admission = admission
        self._share = share

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "POST":
            self._admission.check(self._share)
            await self._admission.enter(self._share, scope["state"]["exchange"])
        self.working += 1
        await self.go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await self.end.wait()
        await send({"type": "http.response.body", "body": b""})


async def request(app: Any, method: str = "POST") -> Exchange:
    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_: Message) -> None:
        return None

    exchange = Exchange(Timings("1"), "m")
    await app({"type": "http", "method": method, "state": {"exchange": exchange}}, receive, send)
    return exchange


async def test_requests_over_the_limit_are_refused_and_places_are_given_back() -> None:
    places = admission(2)
    inner = Inner(places)
    app = GiveBack(inner, admission=places)
    accepted = [asyncio.create_task(request(app)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as refused:
        await request(app)
    assert refused.value.retry_after_s == 2.5
    inner.go.set()
    await asyncio.gather(*accepted)
    await request(app)


async def test_a_tenant_is_let_in_beside_another_one_that_holds_all_places() -> None:
    places = admission(4)
    busy = Inner(places)
    flood = [asyncio.create_task(request(GiveBack(busy, admission=places))) for _ in range(9)]
    await asyncio.sleep(0)
    assert sum(task.done() and task.exception() is not None for task in flood) == 5
    other = Inner(places, B)
    other.go.set()
    one = asyncio.create_task(request(GiveBack(other, admission=places)))
    await asyncio.sleep(0)
    assert not one.done(), "it waits for a place"
    busy.go.set()
    exchange = await one
    assert exchange.timings.stages["admission"] > 0
    await asyncio.gather(*flood, return_exceptions=True)


async def test_a_full_server_still_answers_readiness_and_metrics() -> None:
    places = admission(1)
    inner = Inner(places)
    app = GiveBack(inner, admission=places)
    busy = asyncio.create_task(request(app))
    await asyncio.sleep(0)
    looks = asyncio.create_task(request(app, "GET"))
    await asyncio.sleep(0)
    assert inner.working == 2
    inner.go.set()
    await asyncio.gather(busy, looks)


async def test_a_client_that_leaves_frees_its_place() -> None:
    places = admission(1)
    inner = Inner(places)
    app = GiveBack(inner, admission=places)
    gone = asyncio.create_task(request(app))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    inner.go.set()
    await request(app)


async def test_a_client_that_reads_its_answer_slowly_holds_no_place() -> None:
    places = admission(1)
    inner = Inner(places)
    inner.go.set()
    inner.end.clear()
    app = GiveBack(inner, admission=places)
    slow = asyncio.create_task(request(app))
    await asyncio.sleep(0)
    other = asyncio.create_task(request(app))
    await asyncio.sleep(0)
    assert inner.working == 2
    inner.end.set()
    await asyncio.gather(slow, other)


@pytest.mark.parametrize(("share", "inside"), [(A, 20), (BATCH, 60)])
async def test_batch_waits_where_interactive_requests_are_refused(share: Share, inside: int) -> None:
    """Sixty clients of a server that answers twenty requests a second, each of which should wait for one second."""
    now = 0.0
    places = Admission(most=100, shared=2, max_wait_s=1.0, retry_after_s=1.0, clock=lambda: now)
    under_way: deque[tuple[Exchange, float]] = deque()
    waiting: deque[tuple[asyncio.Task[None], Exchange]] = deque()
    for _ in range(1000):
        now += 0.05
        while len(under_way) + len(waiting) < 60:
            exchange = Exchange(Timings("1"), "m")
            task = asyncio.create_task(places.enter(share, exchange))
            await asyncio.sleep(0)
            if task.done() and task.exception():
                break
            waiting.append((task, exchange))
        while waiting and waiting[0][0].done():
            under_way.append((waiting.popleft()[1], now))
        done, began = under_way.popleft()
        done.timings.waited_s = now - began
        places.leave(done)
        await asyncio.sleep(0)
    for task, _ in waiting:
        task.cancel()
    await asyncio.gather(*(task for task, _ in waiting), return_exceptions=True)
    assert len(under_way) + len(waiting) == pytest.approx(inside, abs=3)
    assert len(under_way) <= 23, "more would wait for the model"
