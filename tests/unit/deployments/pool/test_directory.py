from collections import Counter

import pytest

from deployments.config import Budget
from deployments.keys import ImageKey
from deployments.pool.directory import Directory, Reason, Tier
from deployments.pool.states import State
from sam3_engine.types import ImageSize

SIZE = ImageSize(30, 40)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Recorded:
    """A directory with its clock and what it reported."""

    def __init__(self, warm: int = 100, cold: int = 100, idle: float = 60.0) -> None:
        self.evicted: Counter[tuple[Reason, Tier]] = Counter()
        self.clock = Clock()
        self.directory = Directory(Budget(warm, cold, idle), self._on_evicted, self.clock)

    def _on_evicted(self, reason: Reason, tier: Tier) -> None:
        self.evicted[reason, tier] += 1

    def add(self, name: str, nbytes: int = 10, source: bytes | None = None) -> int:
        entry = self.directory.start(key(name), SIZE, source)
        assert self.directory.finish(key(name), entry.generation, f"ref-{name}", nbytes)
        return entry.generation

    def state(self, name: str) -> State | None:
        entry = self.directory.peek(key(name))
        return entry.state if entry else None


def key(name: str, tenant: str = "t") -> ImageKey:
    return ImageKey(tenant, "model", name)


def test_an_entry_is_found_by_its_whole_key() -> None:
    pool = Recorded()
    pool.add("a")
    found = pool.directory.get(key("a"))
    assert found is not None
    assert (found.reference, found.size) == ("ref-a", SIZE)
    assert pool.directory.get(key("a", tenant="other")) is None
    assert pool.directory.get(ImageKey("t", "other model", "a")) is None


def test_the_least_recently_used_leave_first_and_bytes_stay_under_the_budget() -> None:
    pool = Recorded(warm=100)
    for name in "abcdefghij":
        pool.add(name, nbytes=10)
    pool.directory.get(key("a"))
    pool.add("k", nbytes=25)
    assert pool.directory.warm.used <= 100
    assert [name for name in "abcdefghijk" if pool.state(name) is State.READY] == list("aefghijk")
    assert pool.evicted == {("budget", "warm"): 3}
    assert len(pool.directory) == 8, "nothing is kept of an evicted image whose source is not held"


def test_ten_times_as_many_images_as_fit_leave_the_bytes_under_both_budgets() -> None:
    pool = Recorded(warm=100, cold=50)
    for number in range(100):
        pool.add(f"image-{number}", nbytes=10, source=bytes(5))
        assert pool.directory.warm.used <= 100
        assert pool.directory.cold.used <= 50
    assert (len(pool.directory.warm), len(pool.directory.cold)) == (10, 10)


def test_the_newest_embedding_stays_even_when_it_is_larger_than_the_budget() -> None:
    pool = Recorded(warm=100)
    pool.add("small")
    pool.add("large", nbytes=1000)
    assert pool.state("large") is State.READY
    assert pool.state("small") is None


def test_an_evicted_image_keeps_its_source_and_can_be_encoded_again() -> None:
    pool = Recorded(warm=15)
    first = pool.add("a", source=b"file a")
    pool.add("b", source=b"file b")
    assert pool.state("a") is State.EVICTED
    entry = pool.directory.get(key("a"))
    assert entry is not None
    assert entry.source == b"file a"
    assert pool.directory.start(key("a"), SIZE).generation > first
    assert pool.directory.cold.used == len(b"file a") + len(b"file b")


def test_the_source_of_the_least_recently_used_goes_first_and_embeddings_stay() -> None:
    pool = Recorded(cold=10)
    pool.add("a", source=b"123456")
    pool.add("b", source=b"123456")
    assert pool.directory.cold.used == 6
    assert pool.state("a") is State.READY
    entry = pool.directory.get(key("a"))
    assert entry is not None
    assert entry.source is None


def test_a_source_larger_than_its_budget_is_not_kept_and_drives_nothing_out() -> None:
    pool = Recorded(cold=10)
    pool.add("a", source=b"1234")
    pool.add("b", source=b"1" * 11)
    assert pool.directory.cold.used == 4


def test_a_failed_encode_leaves_nothing_but_the_source() -> None:
    pool = Recorded()
    entry = pool.directory.start(key("a"), SIZE)
    pool.directory.fail(key("a"), entry.generation)
    assert pool.state("a") is None
    entry = pool.directory.start(key("a"), SIZE, b"file")
    pool.directory.fail(key("a"), entry.generation)
    assert pool.state("a") is State.EVICTED


def test_results_and_reports_about_another_generation_change_nothing() -> None:
    pool = Recorded()
    old = pool.add("a", source=b"file")
    assert pool.directory.lose(key("a"), old)
    new = pool.directory.start(key("a"), SIZE).generation
    assert not pool.directory.finish(key("a"), old, "stale", 10)
    pool.directory.fail(key("a"), old)
    assert pool.state("a") is State.ENCODING
    assert pool.directory.finish(key("a"), new, "fresh", 10)
    assert not pool.directory.lose(key("a"), old)
    entry = pool.directory.get(key("a"))
    assert entry is not None
    assert entry.reference == "fresh"
    assert pool.directory.warm.used == 10


def test_a_lost_image_without_source_is_forgotten() -> None:
    pool = Recorded()
    generation = pool.add("a")
    assert pool.directory.lose(key("a"), generation)
    assert pool.state("a") is None
    assert pool.directory.warm.used == 0
    assert pool.evicted == {("lost", "warm"): 1}


def test_a_deleted_image_leaves_every_tier_and_its_running_encode_does_not_bring_it_back() -> None:
    pool = Recorded()
    pool.add("a", source=b"file")
    running = pool.directory.start(key("b"), SIZE, b"file").generation
    assert pool.directory.delete("t", "a")
    assert pool.directory.delete("t", "b")
    assert not pool.directory.delete("t", "c")
    assert not pool.directory.finish(key("b"), running, "ref", 10)
    assert (pool.directory.warm.used, pool.directory.cold.used, len(pool.directory)) == (0, 0, 0)


def test_idle_images_are_forgotten_and_running_encodes_are_not() -> None:
    pool = Recorded(idle=60)
    pool.directory.start(key("running"), SIZE)
    pool.add("idle", source=b"file")
    pool.clock.now += 50
    pool.add("young")
    pool.clock.now += 20
    pool.directory.sweep()
    assert [pool.state(name) for name in ("idle", "young", "running")] == [None, State.READY, State.ENCODING]
    assert pool.evicted == {("idle", "warm"): 1, ("idle", "cold"): 1}


def test_a_smaller_budget_takes_hold_at_once() -> None:
    pool = Recorded()
    for name in "abcde":
        pool.add(name, nbytes=10, source=bytes(10))
    pool.directory.resize(Budget(20, 10, 60))
    assert (pool.directory.warm.used, pool.directory.cold.used) == (20, 10)
    assert (len(pool.directory.warm), len(pool.directory.cold)) == (2, 1)


@pytest.mark.parametrize("keep", [0, 3])
def test_the_figures_are_those_of_the_entries(keep: int) -> None:
    pool = Recorded(warm=keep * 10, cold=keep * 5)
    generations = {name: pool.add(name, 10, bytes(5)) for name in "abcdef"}
    pool.directory.lose(key("f"), generations["f"])
    entries = [entry for _, entry in pool.directory.items()]
    assert pool.directory.warm.used == sum(entry.nbytes for entry in entries)
    assert pool.directory.cold.used == sum(len(entry.source or b"") for entry in entries)
