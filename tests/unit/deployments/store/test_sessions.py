"""What the store promises of videos' sessions: the same tests for the real one and for the one that other tests use."""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable

import pytest

from deployments.config import StoreConfig
from deployments.observe.metrics import Metrics
from deployments.store.server import LocalServer
from deployments.store.sessions import (
    Committed,
    KeptRecord,
    SessionLimits,
    SessionsFull,
    SessionStore,
)
from deployments.store.valkey import ValkeyStore
from deployments.store.valkey_sessions import ValkeySessions
from tests.support.memory_sessions import MemorySessions
from tests.support.patience import PATIENCE_S

A, B, C = "a" * 32, "b" * 32, "c" * 32
MOST = SessionLimits(sessions=2, nbytes=1000)
ROOMY = SessionLimits(sessions=100, nbytes=10**6)
FIRST = KeptRecord("r1", b"first")


Make = Callable[[float], SessionStore]


@pytest.fixture(params=["valkey", "memory"])
async def make(
    request: pytest.FixtureRequest, server: LocalServer, valkey: ValkeyStore, metrics: Metrics
) -> AsyncIterator[Make]:
    """Makes a store of 4000 bytes of sessions, which end after so many seconds."""
    made: list[ValkeySessions] = []

    def store(idle_s: float) -> SessionStore:
        if request.param == "memory":
            return MemorySessions(idle_s=idle_s, budget=4000)
        config = StoreConfig(server.url, cold_bytes=100, idle_ttl_s=60)
        made.append(ValkeySessions(config, metrics, idle_s=idle_s, budget=4000))
        return made[-1]

    yield store
    for one in made:
        await one.close()


@pytest.fixture
def store(make: Make) -> SessionStore:
    return make(600)


async def test_a_session_is_what_was_committed_last(store: SessionStore) -> None:
    await store.open("t", A, FIRST, b"", MOST)
    assert await store.load("t", A) == FIRST
    second = KeptRecord("r2", b"\x00second\xff")
    assert await store.commit("t", A, "r1", second, MOST, {0: b"zero", 1: b"one"}) is Committed.DONE
    assert await store.load("t", A) == second
    assert await store.answers("t", A, [1, 2, 0]) == [b"one", None, b"zero"]


async def test_of_two_that_go_on_from_one_record_one_counts(store: SessionStore) -> None:
    await store.open("t", A, FIRST, b"", MOST)
    outcomes = await asyncio.gather(
        *(store.commit("t", A, "r1", KeptRecord(f"n{n}", b"n"), MOST, {0: b"%d" % n}) for n in range(5))
    )
    assert sorted(one.value for one in outcomes) == ["done", *["other"] * 4]


async def test_a_step_that_is_repeated_changes_nothing_more(store: SessionStore) -> None:
    for _ in range(2):
        await store.open("t", A, FIRST, b"file", MOST)
    for _ in range(2):
        assert await store.commit("t", A, "r1", KeptRecord("r2", b"2"), MOST, {0: b"x"}) is Committed.DONE
    assert [name for name, _ in await store.sessions("t")] == [A]


async def test_a_session_belongs_to_its_tenant(store: SessionStore) -> None:
    await store.open("t", A, FIRST, b"", MOST)
    assert await store.load("u", A) is None
    assert await store.commit("u", A, "r1", KeptRecord("r2", b""), MOST) is Committed.GONE
    assert not await store.end("u", A)
    assert await store.sessions("u") == []
    assert await store.load("t", A) == FIRST


async def test_answers_of_early_frames_and_the_picture_before_give_way(store: SessionStore) -> None:
    await store.open("t", A, FIRST, b"", MOST)
    await store.commit("t", A, "r1", KeptRecord("r2", b""), MOST, {0: b"0", 1: b"1"}, picture=b"old")
    await store.commit("t", A, "r2", KeptRecord("r3", b""), MOST, {2: b"2"}, oldest=1, picture=b"new")
    assert await store.answers("t", A, [0, 1, 2]) == [None, b"1", b"2"]
    assert await store.picture("t", A) == b"new"
    await store.commit("t", A, "r3", KeptRecord("r4", b""), MOST)
    assert await store.picture("t", A) == b"new", "without another one it stays"


async def test_all_answers_give_way_where_the_session_begins_anew(store: SessionStore) -> None:
    await store.open("t", A, FIRST, b"film", MOST)
    await store.commit("t", A, "r1", KeptRecord("r2", b""), MOST, {-1: b"prompts", 0: b"0", 9: b"9"})
    await store.commit("t", A, "r2", KeptRecord("r3", b""), MOST, oldest=sys.maxsize)
    assert await store.answers("t", A, [-1, 0, 9]) == [None] * 3
    assert await store.file("t", A) == b"film"


async def test_the_file_of_a_video_is_kept_with_its_session(store: SessionStore) -> None:
    await store.open("t", A, FIRST, b"\x00film", MOST)
    await store.open("t", B, FIRST, b"", MOST)
    assert await store.file("t", A) == b"\x00film"
    assert await store.file("t", B) is None
    assert await store.file("t", C) is None


async def test_a_tenant_has_so_many_sessions_and_no_more(store: SessionStore) -> None:
    await store.open("t", A, FIRST, b"", MOST)
    await store.open("t", B, FIRST, b"", MOST)
    with pytest.raises(SessionsFull):
        await store.open("t", C, FIRST, b"", MOST)
    await store.open("u", C, FIRST, b"", MOST)
    assert await store.end("t", A)
    await store.open("t", C, FIRST, b"", MOST)


async def test_a_file_that_is_too_large_for_the_tenant_or_for_all_opens_nothing(store: SessionStore) -> None:
    with pytest.raises(SessionsFull):
        await store.open("t", A, FIRST, bytes(1001), MOST)
    assert await store.load("t", A) is None
    for number in range(4):
        await store.open(f"t{number}", A, FIRST, bytes(990), MOST)
    with pytest.raises(SessionsFull):
        await store.open("t", A, FIRST, bytes(990), MOST)
    assert await store.sweep_sessions() == (4, 4 * 995)


async def test_beyond_its_bytes_a_session_goes_on_without_picture_and_answers(store: SessionStore) -> None:
    await store.open("t", A, FIRST, b"", MOST)
    await store.commit("t", A, "r1", KeptRecord("r2", bytes(400)), MOST, {0: b"0"}, picture=bytes(700))
    assert await store.picture("t", A) is None
    assert await store.answers("t", A, [0]) == [b"0"]
    await store.commit("t", A, "r2", KeptRecord("r3", bytes(1000)), MOST, {1: b"1"})
    assert await store.answers("t", A, [0, 1]) == [None, None]
    assert await store.load("t", A) == KeptRecord("r3", bytes(1000)), "an answered frame is never lost"


async def test_nothing_is_counted_of_a_session_that_has_ended(store: SessionStore) -> None:
    await store.open("t", A, FIRST, bytes(500), MOST)
    await store.commit("t", A, "r1", KeptRecord("r2", b"2"), MOST, {0: b"0"})
    assert await store.end("t", A)
    assert not await store.end("t", A)
    assert await store.load("t", A) is None
    assert await store.answers("t", A, [0]) == [None]
    assert await store.sweep_sessions() == (0, 0)
    await store.open("t", B, FIRST, bytes(990), MOST)


async def test_a_session_ends_when_nobody_asks_for_it(make: Make) -> None:
    store = make(0.2)
    await store.open("t", A, FIRST, b"file", ROOMY)
    async with asyncio.timeout(PATIENCE_S):
        while await store.sweep_sessions() != (0, 0):
            await asyncio.sleep(0.05)
    assert await store.load("t", A) is None
    assert await store.commit("t", A, "r1", KeptRecord("r2", b""), ROOMY) is Committed.GONE
    assert await store.sessions("t") == []


async def test_a_session_is_found_by_its_name_with_its_note(store: SessionStore) -> None:
    assert await store.named("t", "camera") is None
    assert await store.open("t", A, FIRST, b"", MOST, "camera") is None
    assert await store.open("t", B, FIRST, b"", MOST) is None
    assert await store.named("t", "camera") == (A, b"")
    assert await store.note("t", A, b"\x00note")
    assert await store.named("t", "camera") == (A, b"\x00note")
    assert await store.named("t", "") is None, "a session without a name has none"
    assert await store.named("u", "camera") is None
    assert await store.load("t", A) == FIRST, "a note changes no record"


async def test_a_session_takes_the_place_of_the_one_with_its_name(store: SessionStore) -> None:
    await store.open("t", A, FIRST, b"", MOST, "camera")
    await store.open("t", B, FIRST, b"", MOST)
    await store.open("u", A, FIRST, b"", MOST, "camera")
    assert await store.open("t", C, FIRST, b"", MOST, "camera") == A, "the tenant had as many as it may have"
    assert await store.named("t", "camera") == (C, b"")
    assert await store.load("t", A) is None
    assert await store.load("u", A) == FIRST


async def test_a_name_and_a_note_end_with_their_session(store: SessionStore) -> None:
    await store.open("t", A, FIRST, b"", MOST, "camera")
    await store.note("t", A, b"note")
    await store.end("t", A)
    assert await store.named("t", "camera") is None
    assert not await store.note("t", A, b"note")
    await store.open("t", B, FIRST, b"", MOST, "camera")
    assert await store.named("t", "camera") == (B, b"")


async def test_a_note_counts_among_the_bytes(store: SessionStore) -> None:
    await store.open("t", A, FIRST, b"", MOST)
    before = (await store.sweep_sessions())[1]
    await store.note("t", A, bytes(100))
    assert await store.sweep_sessions() == (1, before + 100)
