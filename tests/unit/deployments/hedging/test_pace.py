import pytest

from deployments.hedging.pace import FAR, FEWEST, LONG_S, MOST_TOKENS, RECENT, UNKNOWN_S, Budget, Pace


def pace(*seconds: float, kind: str = "click") -> Pace:
    """After calls that took so long."""
    made = Pace(least_s=0.5)
    for each in seconds:
        made.took(kind, each)
    return made


def test_a_kind_that_is_not_known_yet_gets_time() -> None:
    assert pace(*[0.01] * (FEWEST - 1)).patience_s("click") == UNKNOWN_S
    assert pace(*[0.01] * FEWEST).patience_s("concept") == UNKNOWN_S


def test_fast_calls_are_not_hedged_before_the_least_time() -> None:
    assert pace(*[0.01] * FEWEST).patience_s("click") == 0.5


def test_patience_is_far_more_than_calls_of_the_kind_take() -> None:
    assert pace(*[0.4] * FEWEST).patience_s("click") == pytest.approx(0.4 * FAR)


def test_a_person_waits_for_a_call_that_hangs_no_longer_than_for_a_slow_one() -> None:
    assert pace(*[1.2] * FEWEST).patience_s("click") == LONG_S
    assert pace(*[4.0] * FEWEST).patience_s("click") == 4.0


def test_a_few_calls_that_hang_teach_no_patience() -> None:
    slow = RECENT // 32
    made = pace(*[0.4] * (RECENT - slow), *[60.0] * slow)
    assert made.patience_s("click") == pytest.approx(0.4 * FAR)


def test_patience_follows_what_calls_take_now() -> None:
    made = pace(*[0.3] * RECENT)
    for seconds in (0.45, 0.2):
        for _ in range(RECENT):
            made.took("click", seconds)
        assert made.patience_s("click") == pytest.approx(FAR * seconds)


def hedges(budget: Budget, calls: int) -> int:
    """Number of hedges among so many calls that would all be hedged."""
    found = 0
    for _ in range(calls):
        budget.earn()
        found += budget.spend()
    return found


@pytest.mark.parametrize("share", [0.02, 0.1, 1.0])
def test_hedges_are_a_share_of_the_calls(share: float) -> None:
    calls = 10_000
    assert share * calls - 1 <= hedges(Budget(share), calls) <= share * calls + MOST_TOKENS


def test_a_long_calm_time_allows_few_hedges_at_once() -> None:
    budget = Budget(0.02)
    for _ in range(10_000):
        budget.earn()
    assert sum(budget.spend() for _ in range(100)) == MOST_TOKENS
