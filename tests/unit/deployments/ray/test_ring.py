from typing import Any

from deployments.ray import ring
from deployments.ray.ring import places


def said(rank: int, since: float = 1.0) -> dict[str, float]:
    return {ring.RANK: rank, ring.SINCE: since}


def test_a_replica_has_the_place_that_it_asked_for() -> None:
    assert places({"a": said(0), "b": said(2), "c": said(1)}) == {"a": 0, "b": 2, "c": 1}


def test_a_gap_stays_until_somebody_asks_for_it() -> None:
    before = {"a": said(0), "b": said(1), "c": said(2)}
    without = {name: before[name] for name in ("a", "c")}
    assert places(without) == {"a": 0, "c": 2}
    assert places({**without, "new": said(1, since=9.0)}) == {"a": 0, "c": 2, "new": 1}


def test_the_earlier_replica_keeps_a_place_that_two_ask_for() -> None:
    """Serve gave the first one another rank when there were fewer, and its old one to the next that came."""
    asked = {"early": said(2, since=1.0), "late": said(2, since=5.0), "other": said(1, since=9.0)}
    assert places(asked) == {"early": 2, "late": 0, "other": 1}
    assert places({"late": asked["late"], "other": asked["other"]}) == {"late": 2, "other": 1}


def test_replicas_that_say_nothing_have_places_of_their_own() -> None:
    silent: dict[str, dict[str, Any]] = {"b": {}, "a": {}}
    assert places(silent) == {"a": 0, "b": 1}
    assert places({**silent, "c": said(0)}) == {"c": 0, "a": 1, "b": 2}


def test_every_router_finds_the_same_places() -> None:
    asked = {name: said(number % 3, since=number % 2) for number, name in enumerate("abcdefgh")}
    backwards = dict(reversed(asked.items()))
    assert places(asked) == places(backwards)
    assert len(set(places(asked).values())) == len(asked)


def test_there_may_be_no_replica() -> None:
    assert places({}) == {}


def test_places_reads_the_message_of_a_replica() -> None:
    assert places({"one": ring.metadata(3), "other": {}}) == {"one": 3, "other": 0}
