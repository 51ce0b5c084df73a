from deployments.pool.session_states import SessionName, SessionStates

A, B, OTHER = SessionName("t", "a"), SessionName("t", "b"), SessionName("u", "a")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_session_has_its_newest_state() -> None:
    states = SessionStates(100, 60)
    assert states.find(A) is None
    states.keep(A, "r1", "one", 10)
    states.keep(A, "r2", "two", 20)
    assert states.find(A) == ("r2", ["two"])
    assert states.find(OTHER) is None
    assert states.used == 20


def test_beyond_the_budget_the_tenant_that_holds_most_loses_its_oldest_one() -> None:
    states = SessionStates(100, 60)
    states.keep(OTHER, "r", "other", 30)
    states.keep(A, "r", "a", 40)
    states.keep(B, "r", "b", 40)
    assert states.find(A) is None
    assert states.find(B) == ("r", ["b"])
    assert states.find(OTHER) == ("r", ["other"])


def test_a_state_that_is_too_large_pushes_out_nobody_and_leaves_no_older_one() -> None:
    states = SessionStates(100, 60)
    states.keep(A, "r1", "a", 40)
    states.keep(OTHER, "r", "other", 40)
    states.keep(A, "r2", "large", 101)
    assert states.find(A) is None
    assert states.find(OTHER) == ("r", ["other"])
    assert states.used == 40


def test_a_state_ends_when_nobody_asks_for_it() -> None:
    clock = Clock()
    states = SessionStates(100, 60, clock)
    states.keep(A, "r", "a", 10)
    states.keep(B, "r", "b", 10)
    clock.now = 50
    assert states.find(A)
    clock.now = 70
    states.sweep()
    assert states.find(A)
    assert states.find(B) is None
    assert states.used == 10


def test_a_state_can_be_dropped() -> None:
    states = SessionStates(100, 60)
    states.keep(A, "r", "a", 10)
    assert states.drop(A)
    assert not states.drop(A)
    assert (states.find(A), states.used) == (None, 0)
