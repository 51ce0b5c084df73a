"""A load test's reading of the server's metrics."""

import itertools
from types import SimpleNamespace

import pytest

from harness import exposed
from loadtest import run


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, float]]:
    """The server's figures, one look after the other; the last one from then on."""
    looks: list[dict[str, float]] = []
    index = itertools.count()
    monkeypatch.setattr(run, "tiers", lambda url: looks[min(next(index), len(looks) - 1)])
    clock = itertools.count(step=0.5)
    quick = SimpleNamespace(sleep=lambda seconds: None, monotonic=lambda: next(clock))
    monkeypatch.setattr(exposed, "time", quick)
    return looks


def test_figures_are_read_when_they_stand_still(told: list[dict[str, float]]) -> None:
    told += [{"hot": 1.0}, {"hot": 1.0}, {"hot": 4.0}, {"hot": 5.0}]
    assert run.settled_tiers("http://x") == {"hot": 5.0}


def test_a_late_report_is_waited_for(told: list[dict[str, float]]) -> None:
    told += [*[{"hot": 5.0}] * 12, {"hot": 9.0}]
    assert run.settled_tiers("http://x", other_than={"hot": 5.0}) == {"hot": 9.0}


def test_a_server_that_tells_nothing_new_is_not_waited_for_for_ever(told: list[dict[str, float]]) -> None:
    told += [{"hot": 5.0}]
    assert run.settled_tiers("http://x", other_than={"hot": 5.0}) == {"hot": 5.0}
    told[:] = [{}]
    assert run.settled_tiers("http://x", other_than={}) == {}
