"""The shard's side, step by step; what comes of both sides together is in test_naming."""

import asyncio
from dataclasses import dataclass

import pytest

from deployments.pool import leases as module
from deployments.pool.leases import LEASE_S, Leases

NAME = ("t", "pet")


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def leases(clock: Clock) -> Leases:
    return Leases(clock)


async def change(leases: Leases, *names: tuple[str, str]) -> None:
    async with leases.changing(names):
        pass


async def test_what_nobody_relies_on_changes_at_once(leases: Leases) -> None:
    await change(leases, NAME)
    assert leases.grant("one", NAME, "red")


async def test_a_change_waits_until_every_lessee_has_heard_of_it(leases: Leases) -> None:
    for lessee in ("one", "two"):
        leases.grant(lessee, NAME, "red")
    changing = asyncio.create_task(change(leases, NAME))
    for lessee in ("one", "two"):
        names, number = await leases.listen(lessee, 0)
        assert names == [NAME]
        await asyncio.sleep(0.01)
        assert not changing.done(), "told, but not confirmed"
        confirming = asyncio.create_task(leases.listen(lessee, number))
        await asyncio.sleep(0.01)
        assert not confirming.done(), "nothing else to tell"
        confirming.cancel()
    await changing
    assert len(leases) == 0


async def test_nothing_is_granted_meanwhile(leases: Leases) -> None:
    leases.grant("one", NAME, "red")
    changing = asyncio.create_task(change(leases, NAME))
    _, number = await leases.listen("one", 0)
    assert not leases.grant("two", NAME, "red")
    assert leases.grant("two", ("t", "other"), "red")
    listening = asyncio.create_task(leases.listen("one", number))
    await changing
    assert leases.grant("two", NAME, "blue")
    listening.cancel()


async def test_a_change_that_was_given_up_is_as_if_it_had_never_been(leases: Leases) -> None:
    leases.grant("one", NAME, "red")
    changing = asyncio.create_task(change(leases, NAME))
    await leases.listen("one", 0)
    changing.cancel()
    await asyncio.gather(changing, return_exceptions=True)
    assert leases.grant("two", NAME, "red")
    assert leases.names_of("t", "red") == [NAME]


async def test_a_lessee_who_is_gone_is_waited_for_until_his_lease_ends(
    leases: Leases, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    leases.grant("gone", NAME, "red", lease_s=0.05)
    leases.grant("long gone", NAME, "red", lease_s=0.01)
    clock.now += 0.02
    await change(leases, NAME)
    monkeypatch.setattr(module, "LISTEN_S", 0.01)
    assert (await leases.listen("gone", 0))[0] == [], "the change is done: nobody needs to hear of it"


async def test_leases_of_an_earlier_process_are_waited_for(leases: Leases, clock: Clock) -> None:
    leases.expect_unknown()
    changing = asyncio.create_task(change(leases, NAME))
    await asyncio.sleep(0.02)
    assert not changing.done()
    changing.cancel()
    clock.now += LEASE_S
    await change(leases, NAME)


async def test_recalls_of_an_earlier_process_confirm_nothing(leases: Leases, clock: Clock) -> None:
    leases.grant("one", NAME, "red")
    first = asyncio.create_task(change(leases, NAME))
    _, number = await leases.listen("one", 0)
    first.cancel()
    restarted = Leases(clock)
    restarted.grant("one", NAME, "red")
    second = asyncio.create_task(change(restarted, NAME))
    assert (await restarted.listen("one", number))[0] == [NAME]
    assert not second.done()
    second.cancel()


async def test_ended_leases_and_silent_lessees_are_forgotten(
    leases: Leases, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LISTEN_S", 0.01)
    leases.grant("one", NAME, "red")
    await leases.listen("one", 0)
    assert leases.lessees == {"one"}
    clock.now += LEASE_S + 0.1
    leases.sweep()
    assert len(leases) == 0
    assert leases.lessees == set()


async def test_an_image_is_known_by_the_ids_that_are_leased(leases: Leases) -> None:
    leases.grant("one", ("t", "a"), "red")
    leases.grant("two", ("t", "b"), "red")
    leases.grant("one", ("other tenant", "a"), "red")
    leases.grant("one", ("t", "c"), "blue")
    assert leases.names_of("t", "red") == [("t", "a"), ("t", "b")]
