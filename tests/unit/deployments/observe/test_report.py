import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from deployments.observe.metrics import NAMES
from deployments.observe.report import ServeMetrics
from harness.waiting import wait_until


class Instruments:
    """Stands in for `ray.serve.metrics`."""

    def __init__(self) -> None:
        self.made: dict[str, tuple[str, ...]] = {}
        self.told: list[tuple[str, str, float, dict[str, str]]] = []
        self.enough = threading.Event()

    def counter(self, name: str, *, description: str, tag_keys: tuple[str, ...]) -> Any:
        return self._instrument("inc", name, tag_keys)

    def gauge(self, name: str, *, description: str, tag_keys: tuple[str, ...]) -> Any:
        return self._instrument("set", name, tag_keys)

    def _instrument(self, verb: str, name: str, tag_keys: tuple[str, ...]) -> Any:
        self.made[name] = tag_keys

        def tell(value: float, tags: dict[str, str]) -> None:
            assert verb == "set" or value > 0, "Ray refuses to count nothing"
            assert tags.keys() == set(tag_keys)
            self.told.append((verb, name, value, tags))
            if len(self.told) > 2:
                self.enough.set()

        return type("Instrument", (), {verb: staticmethod(tell)})


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> Instruments:
    from ray.serve import metrics

    instruments = Instruments()
    monkeypatch.setattr(metrics, "Counter", instruments.counter)
    monkeypatch.setattr(metrics, "Gauge", instruments.gauge)
    return instruments


def test_calls_are_summed_up_before_ray_hears_of_them(ray: Instruments) -> None:
    metrics = ServeMetrics(interval_s=1000)
    for _ in range(50):
        metrics.add(NAMES.cache_lookups, tier="hot", model="m")
        metrics.observe(NAMES.stage_seconds, 0.5, stage="prompt")
    metrics.set(NAMES.processes, 1, part="decoder")
    assert ray.told == []
    metrics.report()
    assert ("inc", "sam3_cache_lookups_total", 50, {"tier": "hot", "model": "m"}) in ray.told
    assert ("inc", "sam3_stage_seconds_sum", 25, {"stage": "prompt"}) in ray.told
    assert ("inc", "sam3_stage_seconds_bucket", 50, {"stage": "prompt", "le": "0.5"}) in ray.told
    assert ("set", "sam3_processes", 1, {"part": "decoder"}) in ray.told
    ray.told.clear()
    metrics.report()
    assert ray.told == [("set", "sam3_processes", 1, {"part": "decoder"})]


def test_a_value_on_a_boundary_is_below_it(ray: Instruments) -> None:
    metrics = ServeMetrics(interval_s=1000)
    for size in (1, 2, 3, 1000):
        metrics.observe(NAMES.batch_size, size, stage="encode")
    metrics.report()
    found = {(name, tags.get("le")): value for _, name, value, tags in ray.told}
    below = [found["sam3_batch_size_bucket", le] for le in ("1.0", "2.0", "4.0", "128.0", "+Inf")]
    assert below == [1, 2, 3, 3, 4]
    assert (found["sam3_batch_size_count", None], found["sam3_batch_size_sum", None]) == (4, 1006)


def test_nothing_is_lost_between_threads(ray: Instruments) -> None:
    metrics = ServeMetrics(interval_s=0.001)

    def work(_: int) -> None:
        for _ in range(1000):
            metrics.add(NAMES.evictions, 1, reason="idle", tier="hot")
            metrics.observe(NAMES.batch_size, 1, stage="encode")

    def told(wanted: str) -> float:
        return sum(value for _, name, value, _ in tuple(ray.told) if name == wanted)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(16)))
    names = ("sam3_evictions_total", "sam3_batch_size_count", "sam3_batch_size_sum")
    wait_until(lambda: min(map(told, names)) >= 16_000, 60)
    assert [told(name) for name in names] == [16_000] * 3


def test_it_reports_by_itself(ray: Instruments) -> None:
    metrics = ServeMetrics(interval_s=0.001)
    metrics.set(NAMES.processes, 1, part="decoder")
    assert ray.enough.wait(10)


def test_a_followed_gauge_is_read_anew_for_each_report(ray: Instruments) -> None:
    metrics = ServeMetrics(interval_s=1000)
    ages = iter((0.5, 0.0))
    metrics.follow(NAMES.queue_age, lambda: next(ages), stage="prompt")
    metrics.report()
    metrics.report()
    told = [("set", "sam3_queue_age_seconds", age, {"stage": "prompt"}) for age in (0.5, 0.0)]
    assert ray.told == told
