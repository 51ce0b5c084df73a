from collections import Counter

import pytest

from deployments.config import Budget
from deployments.keys import ImageKey
from deployments.pool.directory import Directory, Reason
from deployments.pool.states import State
from sam3_engine.types import ImageSize

SIZE = ImageSize(30, 40)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Recorded:
    """A directory with its clock and its reports."""

    def __init__(self, warm: int = 100, idle: float = 60.0) -> None:
        self.evicted: Counter[Reason] = Counter()
        self.clock = Clock()
        self.directory = Directory(Budget(warm, idle), self._on_evicted, self.clock)

    def _on_evicted(self, reason: Reason) -> None:
        self.evicted[reason] += 1

    def add(self, name: str, nbytes: int = 10, born: int = 5) -> int:
        entry = self.directory.start(key(name), SIZE, born)
        assert self.directory.finish(key(name), entry.generation, f"ref-{name}", nbytes)
        return entry.generation

    def state(self, name: str) -> State | None:
        entry = self.directory._entries.get(key(name))
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
    assert pool.evicted == {"budget": 3}
    assert len(pool.directory) == 8


def test_ten_times_as_many_images_as_fit_leave_the_bytes_under_the_budget() -> None:
    pool = Recorded(warm=100)
    for number in range(100):
        pool.add(f"image-{number}", nbytes=10)
        assert pool.directory.warm.used <= 100
    assert len(pool.directory) == len(pool.directory.warm) == 10


def test_the_newest_embedding_stays_even_when_it_is_larger_than_the_budget() -> None:
    pool = Recorded(warm=100)
    pool.add("small")
    pool.add("large", nbytes=1000)
    assert pool.state("large") is State.READY
    assert pool.state("small") is None


def test_a_failed_encode_leaves_nothing() -> None:
    pool = Recorded()
    entry = pool.directory.start(key("a"), SIZE, 5)
    pool.directory.fail(key("a"), entry.generation)
    assert pool.state("a") is None


def test_results_and_reports_about_another_generation_change_nothing() -> None:
    pool = Recorded()
    old = pool.add("a")
    assert pool.directory.lose(key("a"), old)
    new = pool.directory.start(key("a"), SIZE, 5).generation
    assert not pool.directory.finish(key("a"), old, "stale", 10)
    pool.directory.fail(key("a"), old)
    assert pool.state("a") is State.ENCODING
    assert pool.directory.finish(key("a"), new, "fresh", 10)
    assert not pool.directory.lose(key("a"), old)
    entry = pool.directory.get(key("a"))
    assert entry is not None
    assert entry.reference == "fresh"
    assert pool.directory.warm.used == 10


def test_a_lost_image_is_forgotten() -> None:
    pool = Recorded()
    generation = pool.add("a")
    assert pool.directory.lose(key("a"), generation)
    assert pool.state("a") is None
    assert pool.directory.warm.used == 0
    assert pool.evicted == {"lost": 1}


def test_a_deleted_image_leaves_and_its_running_encode_does_not_bring_it_back() -> None:
    pool = Recorded()
    pool.add("a", born=5)
    running = pool.directory.start(key("b"), SIZE, 5).generation
    assert pool.directory.delete("t", "a", 6)
    assert pool.directory.delete("t", "b", 6)
    assert not pool.directory.delete("t", "c", 6)
    assert not pool.directory.finish(key("b"), running, "ref", 10)
    assert (pool.directory.warm.used, len(pool.directory)) == (0, 0)


def test_a_deletion_spares_what_was_born_after_it() -> None:
    pool = Recorded()
    pool.add("a", born=7)
    assert not pool.directory.delete("t", "a", 6)
    assert pool.state("a") is State.READY


def test_idle_images_are_forgotten_and_running_encodes_are_not() -> None:
    pool = Recorded(idle=60)
    pool.directory.start(key("running"), SIZE, 5)
    pool.add("idle")
    pool.clock.now += 50
    pool.add("young")
    pool.clock.now += 20
    pool.directory.sweep()
    assert [pool.state(name) for name in ("idle", "young", "running")] == [None, State.READY, State.ENCODING]
    assert pool.evicted == {"idle": 1}


def test_a_smaller_budget_takes_hold_at_once() -> None:
    pool = Recorded()
    for name in "abcde":
        pool.add(name, nbytes=10)
    pool.directory.resize(Budget(20, 60))
    assert (pool.directory.warm.used, len(pool.directory)) == (20, 2)


@pytest.mark.parametrize("keep", [0, 3])
def test_the_figures_are_those_of_the_entries(keep: int) -> None:
    pool = Recorded(warm=keep * 10)
    generations = {name: pool.add(name, 10) for name in "abcdef"}
    pool.directory.lose(key("f"), generations["f"])
    entries = [entry for _, entry in pool.directory.items()]
    assert pool.directory.warm.used == sum(entry.nbytes for entry in entries)
