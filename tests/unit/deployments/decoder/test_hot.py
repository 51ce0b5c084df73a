from dataclasses import dataclass

from deployments.decoder.hot import HotCache
from deployments.keys import ImageKey


@dataclass
class Value:
    nbytes: int


def key(name: str, tenant: str = "t") -> ImageKey:
    return ImageKey(tenant, "m", name)


def test_the_tenant_with_most_bytes_gives_first() -> None:
    """The number of another tenant's images makes no difference, nor does the order of the tenants."""
    cache: HotCache[ImageKey, Value] = HotCache(100)
    for name in "ab":
        cache.put(key(name, "small"), Value(10))
    for number in range(50):
        cache.put(key(str(number), "large"), Value(10))
    assert (cache.held_by("small"), cache.held_by("large")) == (20, 80)
    assert cache.get(key("49", "large"))
    assert not cache.get(key("41", "large")), "its least recently used image has left"
    cache.put(key("c", "small"), Value(70))
    assert cache.used == 100
    assert cache.get(key("c", "small")), "the newest stays"


def test_least_recently_used_values_leave_under_the_budget() -> None:
    cache: HotCache[ImageKey, Value] = HotCache(30)
    for name in "abc":
        cache.put(key(name), Value(10))
    assert cache.get(key("a")) is not None
    cache.put(key("d"), Value(10))
    assert [name for name in "abcd" if cache.get(key(name))] == ["a", "c", "d"]
    assert cache.used == 30


def test_the_newest_stays_even_when_it_is_too_large() -> None:
    cache: HotCache[ImageKey, Value] = HotCache(30)
    cache.put(key("a"), Value(10))
    cache.put(key("b"), Value(100))
    assert cache.get(key("a")) is None
    assert cache.get(key("b")) is not None


def test_a_value_that_grew_is_weighed_when_it_is_put_again() -> None:
    cache: HotCache[ImageKey, Value] = HotCache(30)
    small = Value(10)
    cache.put(key("a"), Value(10))
    cache.put(key("b"), small)
    small.nbytes = 25
    assert cache.used == 20
    cache.put(key("b"), small)
    assert cache.used == 25
    assert cache.get(key("a")) is None


def test_discarding_gives_back_what_was_counted_when_it_was_put() -> None:
    cache: HotCache[ImageKey, Value] = HotCache(30)
    value = Value(10)
    cache.put(key("a"), value)
    value.nbytes = 1000
    cache.discard(key("a"))
    cache.discard(key("a"))
    assert (cache.used, len(cache)) == (0, 0)


def test_idle_values_leave() -> None:
    now = 0.0
    cache: HotCache[ImageKey, Value] = HotCache(100, idle_ttl_s=60, clock=lambda: now)
    cache.put(key("a"), Value(1))
    now = 50.0
    cache.put(key("b"), Value(1))
    now = 70.0
    assert cache.get(key("a")) is None
    assert cache.get(key("b")) is not None
