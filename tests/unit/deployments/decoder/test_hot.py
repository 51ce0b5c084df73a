from dataclasses import dataclass

from deployments.decoder.hot import HotCache


@dataclass
class Value:
    nbytes: int


def test_least_recently_used_values_leave_under_the_budget() -> None:
    cache: HotCache[str, Value] = HotCache(30)
    for name in "abc":
        cache.put(name, Value(10))
    assert cache.get("a") is not None
    cache.put("d", Value(10))
    assert [name for name in "abcd" if cache.get(name)] == ["a", "c", "d"]
    assert cache.used == 30


def test_the_newest_stays_even_when_it_is_too_large() -> None:
    cache: HotCache[str, Value] = HotCache(30)
    cache.put("a", Value(10))
    cache.put("b", Value(100))
    assert cache.get("a") is None
    assert cache.get("b") is not None


def test_a_value_that_grew_is_weighed_when_it_is_put_again() -> None:
    cache: HotCache[str, Value] = HotCache(30)
    small = Value(10)
    cache.put("a", Value(10))
    cache.put("b", small)
    small.nbytes = 25
    assert cache.used == 20
    cache.put("b", small)
    assert cache.used == 25
    assert cache.get("a") is None


def test_discarding_gives_back_what_was_counted_when_it_was_put() -> None:
    cache: HotCache[str, Value] = HotCache(30)
    value = Value(10)
    cache.put("a", value)
    value.nbytes = 1000
    cache.discard("a")
    cache.discard("a")
    assert (cache.used, len(cache)) == (0, 0)


def test_idle_values_leave() -> None:
    now = 0.0
    cache: HotCache[str, Value] = HotCache(100, idle_ttl_s=60, clock=lambda: now)
    cache.put("a", Value(1))
    now = 50.0
    cache.put("b", Value(1))
    now = 70.0
    assert cache.get("a") is None
    assert cache.get("b") is not None
