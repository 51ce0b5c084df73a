import pytest

from deployments.fairness.limit import FEWEST, Limit


def settled(limit: Limit, per_second: float, answers: int = 500, now: float = 0.0) -> int:
    """The limit of a server that answers so many requests a second, and always has as many as are let in."""
    for _ in range(answers):
        inside = limit.value
        waited_s = inside / per_second
        now += 1 / per_second
        limit.answered(inside, waited_s, now - waited_s, now)
    return limit.value


@pytest.mark.parametrize("per_second", [20.0, 45.0, 100.0])
def test_the_limit_keeps_waiting_times_below_the_maximum(per_second: float) -> None:
    limit = Limit(128, max_wait_s=1.0)
    assert limit.value == 128, "it begins open"
    assert settled(limit, per_second) == pytest.approx(per_second, rel=0.1)


def test_the_limit_stays_positive_for_a_slow_model_and_rises_again_for_a_fast_one() -> None:
    limit = Limit(128, max_wait_s=1.0)
    assert settled(limit, 0.05) == FEWEST
    assert settled(limit, 10_000.0, now=1e6) == 128


def test_a_long_pause_resets_the_limit() -> None:
    limit = Limit(128, max_wait_s=1.0)
    settled(limit, 20.0, answers=200)
    limit.opened(11.0)
    assert limit.value < 30, "a second's pause is none"
    limit.opened(100.0)
    assert limit.value == 128


def test_sequential_requests_do_not_lower_the_limit() -> None:
    limit = Limit(128, max_wait_s=1.0)
    for number in range(100):
        limit.answered(1, 0.03, number, number + 0.03)
    assert limit.value == 128


def test_requests_that_waited_for_a_first_replica_do_not_lower_the_limit() -> None:
    """Forty wait for eight seconds; then forty a second are answered."""
    limit = Limit(128, max_wait_s=1.0)
    inside = 40
    for number in range(40):
        now = 8 + number / 40
        limit.answered(number + 1, now - number / 5, number / 5, now)
        inside -= 1
        assert inside < limit.value, "there is room for the next ones"
    assert limit.value >= 35


def test_a_small_limit_stays_what_it_is() -> None:
    limit = Limit(4, max_wait_s=1.0)
    assert settled(limit, 0.05) == 4
