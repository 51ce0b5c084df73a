import pytest

from serve_app.http.tenants.rate import Bucket


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_seconds_worth_at_once_then_the_rate() -> None:
    clock = Clock()
    bucket = Bucket(2, clock)
    assert [bucket.take() for _ in range(3)] == [0, 0, 0.5]
    clock.now += 0.5
    assert bucket.take() == 0
    assert bucket.take() > 0


def test_a_bucket_never_holds_more_than_its_size() -> None:
    clock = Clock()
    bucket = Bucket(2, clock)
    clock.now += 1000
    assert [bucket.take() == 0 for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize("rate", [0.01, 0.5])
def test_a_slow_rate_still_lets_the_first_through(rate: float) -> None:
    clock = Clock()
    bucket = Bucket(rate, clock)
    assert bucket.take() == 0
    assert bucket.take() == pytest.approx(1 / rate)
    clock.now += 1 / rate + 1e-6
    assert bucket.take() == 0
