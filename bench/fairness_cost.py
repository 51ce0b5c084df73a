"""Measures the cost of shares per request: `python -m bench.fairness_cost`.

Side by side in one run: the CPU time of all of a server's processes for one click on a hot image, and the part of it
for taking a place and giving it back. There are three ways: by a counter and a learnt limit, as for a server without
tenants; with shares, for a tenant that is alone; with shares, beside a hundred other active tenants.
"""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from bench.metrics_cost import of_a_click
from deployments.fairness.flows import Share
from deployments.fairness.limit import Limit
from deployments.protocol import Timings
from harness.figures import table
from harness.machine import this_machine
from harness.server import server_process
from serve_app.http.around.admission import Admission
from serve_app.http.around.exchange import Exchange

REPEATS = 20_000
OTHERS = 100
EVERY_S = 1.0
"""Between two requests of each of them."""
STAGES = dict.fromkeys(("decode", "transfer", "prompt", "post"), 0.004)
MOST, MAX_WAIT_S = 128, 0.5


def main() -> None:
    """Print the table."""
    machine = this_machine()
    counted = _cpu(counter())
    alone = _cpu(with_shares(0))
    beside = _cpu(with_shares(OTHERS))
    with tempfile.TemporaryDirectory() as name, server_process(Path(name), access_log="off") as server:
        whole, _ = of_a_click(server)
    print(machine.line())
    rows = [
        ("one click, all processes", whole),
        ("a place without shares", counted),
        ("a place with shares, alone", alone),
        (f"a place with shares, beside {OTHERS} tenants", beside),
        ("shares cost a tenant that is alone", alone - counted),
    ]
    print(table(["CPU", "us", "share"], [(name, f"{s * 1e6:.1f}", f"{s / whole:.2%}") for name, s in rows]))


def counter() -> Callable[[], Awaitable[None]]:
    """A place by a counter and a limit."""
    limit, inside = Limit(MOST, MAX_WAIT_S), 0

    async def request() -> None:
        nonlocal inside
        exchange = Exchange(Timings("", stages=STAGES), "m")
        assert inside < limit.value
        inside += 1
        began = time.monotonic()
        limit.opened(began)
        inside -= 1
        limit.answered(1, exchange.timings.waited_s, began, time.monotonic())

    return request


def with_shares(others: int) -> Callable[[], Awaitable[None]]:
    """A place with shares, while so many other tenants are active."""
    admission = Admission(most=MOST, shared=2, max_wait_s=MAX_WAIT_S, retry_after_s=1.0)
    share, last = Share("own"), float("-inf")

    async def request() -> None:
        nonlocal last
        if (now := time.monotonic()) > last + EVERY_S:
            last = now
            for number in range(others):
                await one(Share(str(number)))
        await one(share)

    async def one(whose: Share) -> None:
        exchange = Exchange(Timings("", stages=STAGES), "m")
        admission.check(whose)
        await admission.enter(whose, exchange)
        admission.leave(exchange)

    return request


def _cpu(request: Callable[[], Awaitable[None]]) -> float:
    async def run() -> float:
        for _ in range(100):
            await request()
        started = time.process_time()
        for _ in range(REPEATS):
            await request()
        return (time.process_time() - started) / REPEATS

    return asyncio.run(run())


if __name__ == "__main__":
    main()
