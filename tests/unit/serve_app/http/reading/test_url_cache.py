import math

import pytest

from serve_app.http.reading.url_cache import FetchedImage, UrlCache, max_age

FOREVER = math.inf


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def image(size: int, max_age_s: float = FOREVER) -> FetchedImage:
    return FetchedImage(b"x" * size, f"digest-{size}", max_age_s)


def test_a_cached_file_is_found_by_its_tenant_only() -> None:
    cache = UrlCache(1000, 60)
    cache.keep("acme", "u", image(1))
    assert cache.get("acme", "u") == image(1)
    assert cache.get("other", "u") is None
    assert cache.get("acme", "v") is None


def test_the_least_recently_used_goes_first() -> None:
    cache = UrlCache(30, 60)
    for name in "abc":
        cache.keep("t", name, image(10))
    cache.get("t", "a")
    cache.keep("t", "d", image(10))
    assert [name for name in "abcd" if cache.get("t", name)] == ["a", "c", "d"]
    assert cache.used == 30


def test_the_tenant_with_most_bytes_gives_first() -> None:
    cache = UrlCache(100, 60)
    cache.keep("small", "u", image(20))
    for number in range(20):
        cache.keep("large", str(number), image(10))
    assert cache.get("small", "u")
    assert cache.used == 100


def test_bytes_are_counted_through_replacement_and_expiry() -> None:
    clock = Clock()
    cache = UrlCache(100, 60, clock)
    cache.keep("t", "a", image(40))
    cache.keep("t", "a", image(50))
    assert cache.used == 50
    clock.now += 61
    assert cache.get("t", "a") is None
    assert cache.used == 0


@pytest.mark.parametrize(("asked", "kept_s"), [(FOREVER, 60), (10.0, 10), (1000.0, 60)])
def test_the_shorter_age_counts(asked: float, kept_s: float) -> None:
    clock = Clock()
    cache = UrlCache(100, 60, clock)
    cache.keep("t", "a", image(1, asked))
    clock.now += kept_s - 0.1
    assert cache.get("t", "a")
    clock.now += 0.2
    assert cache.get("t", "a") is None


@pytest.mark.parametrize(("size", "age", "limit_s"), [(101, FOREVER, 60), (1, 0.0, 60), (1, FOREVER, 0)])
def test_files_too_large_or_with_no_lifetime_are_not_cached(size: int, age: float, limit_s: float) -> None:
    cache = UrlCache(100, limit_s)
    cache.keep("t", "a", image(size, age))
    assert cache.get("t", "a") is None
    assert cache.used == 0


@pytest.mark.parametrize(
    ("header", "age"),
    [
        ("", FOREVER),
        ("public", FOREVER),
        ("max-age=30", 30),
        ("public, Max-Age=30", 30),
        ('max-age="30"', 30),
        ("max-age=x", 0),
        ("max-age=-5", -5),
        ("no-store", 0),
        ("no-cache, max-age=30", 0),
        ("max-age=30, no-store", 0),
    ],
)
def test_max_age(header: str, age: float) -> None:
    assert max_age(header) == age
