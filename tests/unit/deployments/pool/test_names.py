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
    names.forget("other", "cat")
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


def test_a_forgotten_id_names_nothing() -> None:
    names = Names(60)
    names.bind("t", "cat", ONE)
    names.forget("t", "cat")
    assert names.resolve("t", "cat") is None


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
