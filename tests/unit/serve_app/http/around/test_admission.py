import asyncio
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from deployments.protocol import Overloaded, Timings
from serve_app.http.around.admission import FEWEST, Admission, Limit
from serve_app.http.around.exchange import Exchange


class Inner:
    """A route: it reads the body, takes its place, and answers when `go` is set. A GET takes none."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.arrived = asyncio.Event()
        self.arrived.set()
        self.working = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "POST":
            place = scope["state"]["exchange"].place
            place.check()
            await receive()
            await self.arrived.wait()
            place.take()
            place.take()  # once is enough
        self.working += 1
        await self.go.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})


def admission(inner: Inner, most: int) -> Admission:
    return Admission(inner, most=most, max_wait_s=1.0, retry_after_s=2.5)


async def post(app: Any, method: str = "POST") -> int:
    """The status that is answered."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    exchange = Exchange(Timings("1"), "m")
    await app({"type": "http", "method": method, "state": {"exchange": exchange}}, receive, send)
    return int(sent[0]["status"])


async def started(app: Any, count: int, method: str = "POST") -> list[asyncio.Task[int]]:
    """So many requests, each as far as it gets."""
    tasks = [asyncio.create_task(post(app, method)) for _ in range(count)]
    for _ in range(10):
        await asyncio.sleep(0)
    return tasks


async def test_requests_over_the_limit_are_refused_and_others_answered() -> None:
    inner = Inner()
    app = admission(inner, 2)
    accepted = await started(app, 2)
    with pytest.raises(Overloaded) as refused:
        await post(app)
    assert refused.value.retry_after_s == 2.5
    inner.go.set()
    assert await asyncio.gather(*accepted) == [200, 200]
    assert await post(app) == 200, "places are given back"


async def test_bodies_on_their_way_hold_no_places() -> None:
    inner = Inner()
    app = admission(inner, 2)
    inner.arrived.clear()
    slow = await started(app, 50)
    inner.arrived = asyncio.Event()
    inner.arrived.set()
    quick = await started(app, 2)
    assert inner.working == 2
    inner.go.set()
    assert await asyncio.gather(*quick) == [200, 200]
    for task in slow:
        task.cancel()
    await asyncio.gather(*slow, return_exceptions=True)
    assert await post(app) == 200


async def test_places_are_counted_when_bodies_have_come() -> None:
    inner = Inner()
    app = admission(inner, 2)
    inner.arrived.clear()
    tasks = await started(app, 5)
    inner.arrived.set()
    for _ in range(10):
        await asyncio.sleep(0)
    inner.go.set()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert found.count(200) == 2
    assert sum(isinstance(one, Overloaded) for one in found) == 3


async def test_a_full_server_still_answers_readiness_and_metrics() -> None:
    inner = Inner()
    app = admission(inner, 1)
    tasks = await started(app, 1)
    tasks += await started(app, 1, "GET")
    assert inner.working == 2
    inner.go.set()
    await asyncio.gather(*tasks)


async def test_a_client_that_leaves_frees_its_place() -> None:
    inner = Inner()
    app = admission(inner, 1)
    (gone,) = await started(app, 1)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    inner.go.set()
    assert await post(app) == 200


def settled(limit: Limit, per_second: float, answers: int = 500, now: float = 0.0) -> int:
    """The limit of a server that answers so many requests a second, and always has as many as are let in."""
    for _ in range(answers):
        inside = limit.value
        waited_s = inside / per_second
        now += 1 / per_second
        limit.answered(inside, waited_s, now - waited_s, now)
    return limit.value


@pytest.mark.parametrize("per_second", [20.0, 45.0, 100.0])
def test_the_limit_keeps_waiting_times_below_the_maximum(per_second: float) -> None:
    limit = Limit(128, max_wait_s=1.0)
    assert limit.value == 128, "it begins open"
    assert settled(limit, per_second) == pytest.approx(per_second, rel=0.1)


def test_the_limit_stays_positive_for_a_slow_model_and_rises_again_for_a_fast_one() -> None:
    limit = Limit(128, max_wait_s=1.0)
    assert settled(limit, 0.05) == FEWEST
    assert settled(limit, 10_000.0, now=1e6) == 128


def test_a_long_pause_resets_the_limit() -> None:
    limit = Limit(128, max_wait_s=1.0)
    settled(limit, 20.0, answers=200)
    limit.opened(11.0)
    assert limit.value < 30, "a second's pause is none"
    limit.opened(100.0)
    assert limit.value == 128


def test_sequential_requests_do_not_lower_the_limit() -> None:
    limit = Limit(128, max_wait_s=1.0)
    for number in range(100):
        limit.answered(1, 0.03, number, number + 0.03)
    assert limit.value == 128


def test_requests_that_waited_for_a_first_replica_do_not_lower_the_limit() -> None:
    """Forty wait for eight seconds; then forty a second are answered."""
    limit = Limit(128, max_wait_s=1.0)
    inside = 40
    for number in range(40):
        now = 8 + number / 40
        limit.answered(number + 1, now - number / 5, number / 5, now)
        inside -= 1
        assert inside < limit.value, "there is room for the next ones"
    assert limit.value >= 35


def test_a_small_limit_stays_what_it_is() -> None:
    limit = Limit(4, max_wait_s=1.0)
    assert settled(limit, 0.05) == 4
