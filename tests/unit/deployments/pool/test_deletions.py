from deployments.pool.deletions import KEPT_S, Deletions


def test_a_deletion_covers_what_was_received_before_it() -> None:
    deletions = Deletions(clock=lambda: 10.0)
    deletions.record("t", "d", 10.0)
    assert deletions.cover("t", "d", 9.0)
    assert deletions.cover("t", "d", 10.0)
    assert not deletions.cover("t", "d", 10.5)
    assert not deletions.cover("other", "d", 9.0)
    assert not deletions.cover("t", "other", 9.0)


def test_deleted_until_it_is_sent_again() -> None:
    deletions = Deletions(clock=lambda: 10.0)
    assert not deletions.deleted("t", "d")
    deletions.record("t", "d", 10.0)
    deletions.sent_again("t", "d", 9.0)
    assert deletions.deleted("t", "d")
    deletions.sent_again("t", "d", 11.0)
    assert not deletions.deleted("t", "d")
    assert deletions.cover("t", "d", 9.0), "requests from before are still on their way"


def test_older_news_of_a_deletion_change_nothing() -> None:
    deletions = Deletions(clock=lambda: 10.0)
    deletions.record("t", "d", 10.0)
    deletions.sent_again("t", "d", 11.0)
    for at in (10.0, 5.0):
        deletions.record("t", "d", at)
    assert not deletions.deleted("t", "d")
    deletions.record("t", "d", 12.0)
    assert deletions.deleted("t", "d")


def test_it_remembers_for_minutes_and_not_for_ever() -> None:
    now = 0.0
    deletions = Deletions(clock=lambda: now)
    deletions.record("t", "old", 1.0)
    deletions.sent_again("t", "old", 2.0)
    now = 2.0 + KEPT_S
    deletions.record("t", "new", now)
    assert len(deletions) == 1
    assert not deletions.cover("t", "old", 0.5)
    assert deletions.items() == [(("t", "new"), now, False)]
