from deployments.store import deletions
from deployments.store.deletions import Deletions


def test_a_deletion_covers_what_was_born_before_it() -> None:
    told = Deletions()
    assert not told.cover("t", "d", 5)
    told.record("t", "d", 10)
    assert [told.cover("t", "d", born) for born in (9, 10, 11)] == [True, True, False]
    assert not told.cover("t", "other", 5)
    assert not told.cover("other", "d", 5)


def test_a_deletion_that_is_told_late_does_not_uncover_anything() -> None:
    told = Deletions()
    told.record("t", "d", 10)
    told.record("t", "d", 7)
    assert told.cover("t", "d", 10)


def test_old_deletions_are_forgotten() -> None:
    now = 0.0
    told = Deletions(lambda: now)
    told.record("t", "old", 1)
    now = deletions.KEPT_S + 1
    told.record("t", "new", 2)
    assert not told.cover("t", "old", 1)
    assert told.cover("t", "new", 2)
