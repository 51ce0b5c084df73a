import pytest

from deployments.keys import content_digest, derived_id
from deployments.pool.names import Names

ONE, TWO = content_digest(b"one"), content_digest(b"two")


def test_the_newest_image_wins() -> None:
    names = Names(60)
    names.bind("t", "cat", ONE)
    names.bind("t", "cat", TWO)
    assert names.resolve("t", "cat") == TWO


def test_an_id_means_nothing_outside_its_tenant() -> None:
    names = Names(60)
    names.bind("t", "cat", ONE)
    assert names.resolve("other", "cat") is None
    assert names.forget_image("other", ONE) == 0
    assert names.resolve("t", "cat") == ONE


def test_a_derived_id_names_its_content_without_being_bound() -> None:
    names = Names(60)
    names.bind("t", derived_id(ONE), ONE)
    assert len(names) == 0
    assert names.resolve("t", derived_id(ONE)) == ONE


def test_other_bytes_under_a_derived_id_win_until_its_own_come_back() -> None:
    names = Names(60)
    names.bind("t", derived_id(ONE), TWO)
    assert names.resolve("t", derived_id(ONE)) == TWO
    assert names.resolve("other", derived_id(ONE)) == ONE
    names.bind("t", derived_id(ONE), ONE)
    assert names.resolve("t", derived_id(ONE)) == ONE


def test_a_forgotten_image_is_named_by_no_id() -> None:
    names = Names(60)
    for image_id, digest in (("cat", ONE), ("pet", ONE), ("dog", TWO)):
        names.bind("t", image_id, digest)
    assert names.ids_of("t", ONE) == {"cat", "pet"}
    assert names.forget_image("t", ONE) == 2
    assert [names.resolve("t", image_id) for image_id in ("cat", "pet", "dog")] == [None, None, TWO]
    assert names.ids_of("t", ONE) == frozenset()


def test_ids_that_later_requests_gave_stay_when_an_image_is_forgotten() -> None:
    names = Names(60)
    names.bind("t", "before", ONE, received=1.0)
    names.bind("t", "again", ONE, received=1.0)
    names.bind("t", "again", ONE, received=3.0)
    names.bind("t", "after", ONE, received=3.0)
    names.forget_image("t", ONE, at=2.0)
    assert names.ids_of("t", ONE) == {"again", "after"}


def test_an_id_that_moves_on_no_longer_counts_for_its_old_image() -> None:
    names = Names(60)
    names.bind("t", "cat", ONE)
    names.bind("t", "cat", TWO)
    assert (names.ids_of("t", ONE), names.ids_of("t", TWO)) == (frozenset(), {"cat"})
    assert names.forget_image("t", ONE) == 0
    assert names.resolve("t", "cat") == TWO


def test_copies_of_older_bindings_change_nothing() -> None:
    here, there = Names(60), Names(60)
    old = here.bind("t", "cat", ONE)
    new = here.bind("t", "cat", TWO)
    assert old is not None
    assert new is not None
    for binding in (new, old, new):  # late, and twice
        there.adopt("t", "cat", binding)
    assert there.resolve("t", "cat") == TWO
    assert here.bind("t", "cat", TWO) is None, "there is nothing to copy"


def test_a_shard_that_takes_over_makes_newer_bindings_whatever_its_clock_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home, other = Names(60), Names(60)
    first = home.bind("t", "cat", ONE)
    assert first is not None
    other.adopt("t", "cat", first)
    monkeypatch.setattr("deployments.pool.names.time.time_ns", lambda: 0)
    second = other.bind("t", "cat", TWO)
    assert second is not None
    home.adopt("t", "cat", second)
    assert home.resolve("t", "cat") == TWO


def test_idle_ids_are_swept_and_used_ones_stay() -> None:
    now = 0.0
    names = Names(60, clock=lambda: now)
    names.bind("t", "idle", ONE)
    names.bind("t", "used", ONE)
    now = 50.0
    names.resolve("t", "used")
    now = 70.0
    names.sweep()
    assert names.resolve("t", "idle") is None
    assert names.resolve("t", "used") == ONE


def test_the_number_of_ids_is_bounded_and_the_oldest_leave() -> None:
    names = Names(60, limit=3)
    for number in range(5):
        names.bind("t", f"id-{number}", ONE)
    assert len(names) == 3
    assert [names.resolve("t", f"id-{number}") for number in range(5)] == [None, None, ONE, ONE, ONE]
