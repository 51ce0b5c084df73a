import asyncio
from collections.abc import AsyncIterator, Iterable

import pytest

from deployments.protocol import Overloaded
from serve_app.http.errors import SlowBody
from serve_app.http.reading import arrival
from serve_app.http.reading.arrival import Arrivals, Arriving
from serve_app.settings import Settings

KIB = 1024


def budget(alone: bool = False, **settings: object) -> Arrivals:
    return Arrivals(Settings.model_validate(settings), alone=alone)


async def stream(chunks: Iterable[bytes], then_stop: bool = False) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
    if then_stop:
        await asyncio.Event().wait()


async def read(body: Arriving, chunks: Iterable[bytes], then_stop: bool = False) -> bytes:
    return b"".join([chunk async for chunk in body.chunks(stream(chunks, then_stop))])


async def test_a_body_passes_unchanged() -> None:
    with budget().begin("acme") as body:
        assert await read(body, [b"a", b"", b"bc"]) == b"abc"
        assert body.received == 3


async def test_clients_without_a_key_have_a_quarter_and_keep_out_nobody_who_has_one() -> None:
    bodies = budget(max_bodies=8)
    with bodies.begin(None), bodies.begin(None):
        with pytest.raises(Overloaded), bodies.begin(None):
            pass
        with bodies.begin("acme"):
            pass
    with bodies.begin(None):
        pass


async def test_no_tenant_has_the_whole_budget_unless_it_is_the_only_one() -> None:
    bodies = budget(max_bodies=4)
    with bodies.begin("acme"), bodies.begin("acme"), bodies.begin("acme"):
        with pytest.raises(Overloaded), bodies.begin("acme"):
            pass
        with bodies.begin("other"):
            pass
    alone = budget(max_bodies=2, alone=True)
    with alone.begin("default"), alone.begin("default"), pytest.raises(Overloaded), alone.begin("default"):
        pass


async def test_bytes_are_counted_as_they_come_and_given_back() -> None:
    bodies = budget(max_bodies_bytes=4 * KIB)
    with bodies.begin(None) as first:
        await read(first, [b"x" * KIB])
        with bodies.begin(None) as second, pytest.raises(Overloaded):
            await read(second, [b"x"])
        with bodies.begin("acme") as third:
            await read(third, [b"x" * 3 * KIB])
    with bodies.begin(None) as one, bodies.begin(None):
        await read(one, [b"x" * KIB])


async def test_one_body_alone_always_fits() -> None:
    with budget(max_bodies=1, max_bodies_bytes=1).begin(None) as body:
        assert len(await read(body, [b"x" * 64 * KIB])) == 64 * KIB


async def test_a_valid_key_at_its_start_moves_a_body_to_its_tenants_share() -> None:
    bodies = budget(max_bodies=4, max_bodies_bytes=4 * KIB)
    with bodies.begin(None) as body:
        async for _ in body.chunks(stream([b"x" * KIB])):
            body.belongs_to("acme")
        with bodies.begin(None):
            pass
    with bodies.begin("acme"), bodies.begin("acme"), bodies.begin("acme"):
        pass


@pytest.mark.parametrize("sent", [0, 1100 * KIB])
async def test_a_body_that_stops_is_given_up(monkeypatch: pytest.MonkeyPatch, sent: int) -> None:
    monkeypatch.setattr(arrival, "WINDOW_S", 0.05)
    with budget().begin(None) as body, pytest.raises(SlowBody):
        await read(body, [b"x" * sent], then_stop=True)


async def test_a_body_that_trickles_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrival, "WINDOW_S", 0.05)

    async def trickle() -> AsyncIterator[bytes]:
        while True:
            yield b"x"
            await asyncio.sleep(0.001)

    with budget().begin(None) as body, pytest.raises(SlowBody):
        async for _ in body.chunks(trickle()):
            pass


async def test_a_body_that_takes_too_long_is_given_up_however_fast_it_is() -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * arrival.WINDOW_BYTES
            await asyncio.sleep(0.001)

    with budget(body_timeout_s=0.05).begin("acme") as body, pytest.raises(SlowBody):
        async for _ in body.chunks(endless()):
            pass


async def test_a_timeout_of_the_streams_own_is_not_taken_for_slowness() -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield b"x"
        raise TimeoutError("its own")

    with budget().begin("acme") as body, pytest.raises(TimeoutError, match="its own"):
        async for _ in body.chunks(failing()):
            pass
