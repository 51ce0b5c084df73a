from concurrent.futures import ThreadPoolExecutor

from deployments.observe.metrics import NAMES
from deployments.observe.tallies import Change, Tallies


def test_counters_are_taken_once_and_gauges_every_time() -> None:
    tallies = Tallies()
    tallies.add(NAMES.evictions, 2, {"reason": "idle"})
    tallies.add(NAMES.evictions, 1, {"reason": "idle"})
    tallies.set(NAMES.pool_bytes, 4, {"tier": "warm"})
    tallies.set(NAMES.pool_bytes, 3, {"tier": "warm"})
    gauge = Change(NAMES.pool_bytes, "", {"tier": "warm"}, 3)
    assert tallies.take() == [Change(NAMES.evictions, "", {"reason": "idle"}, 3), gauge]
    assert tallies.take() == [gauge]


def test_a_value_on_a_boundary_is_below_it() -> None:
    tallies = Tallies()
    for size in (1, 2, 3, 1000):
        tallies.observe(NAMES.batch_size, size, {"stage": "encode"})
    found = {(change.suffix, change.labels.get("le")): change.value for change in tallies.take()}
    assert found["_bucket", "1.0"] == 1
    assert found["_bucket", "2.0"] == 2
    assert found["_bucket", "4.0"] == 3
    assert found["_bucket", "128.0"] == 3
    assert found["_bucket", "+Inf"] == 4
    assert (found["_count", None], found["_sum", None]) == (4, 1006)
    assert tallies.take() == []


def test_nothing_is_lost_between_threads() -> None:
    tallies = Tallies()
    taken: list[Change] = []

    def work(_: int) -> None:
        for _ in range(1000):
            tallies.add(NAMES.evictions, 1, {"reason": "idle"})
            tallies.observe(NAMES.batch_size, 1, {"stage": "encode"})
        taken.extend(tallies.take())

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(16)))
    taken += tallies.take()
    assert sum(change.value for change in taken if change.metric is NAMES.evictions) == 16_000
    assert sum(change.value for change in taken if change.suffix == "_count") == 16_000
