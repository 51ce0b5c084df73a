from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from deployments.ray.replicas import TRIAL_S, Replicas, Route, key_of, replicas_of


@pytest.fixture
def replicas() -> Replicas:
    """Three of them."""
    made = Replicas()
    made.update("abc")
    return made


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def call(
    replicas: Replicas, stack: ExitStack, *sent: str, only: str | None = None
) -> tuple[Route, list[str]]:
    """A call under way, and the sessions under which these replicas got it."""
    route = stack.enter_context(replicas.route("key", only))
    sessions = []
    for replica in sent:
        sessions.append(replicas.session(route))
        replicas.sent(sessions[-1], replica)
    return route, sessions


def allowed(replicas: Replicas, session: str = "") -> str:
    """Names of the replicas that a router may send a call to, joined; "any" where all are allowed."""
    found = replicas.allowed(session)
    return "any" if found is None else "".join(sorted(found))


def silence(replicas: Replicas, stack: ExitStack, name: str, other: str, since: float = 1.0) -> None:
    """A hedge is answered before the call."""
    route, (session, hedge) = call(replicas, stack, name, other)
    replicas.answered(route, hedge, since + 0.5)
    replicas.outrun(route, session, since, since + 0.5)


def test_calls_for_one_key_have_sessions_of_their_own(replicas: Replicas, stack: ExitStack) -> None:
    sessions = [session for _ in range(3) for session in call(replicas, stack, "a", "b")[1]]
    assert len(set(sessions)) == 6
    assert {key_of(session) for session in sessions} == {"key"}
    assert key_of("a-key-alone") == "a-key-alone"


def test_a_call_goes_wherever_the_router_sends_it(replicas: Replicas, stack: ExitStack) -> None:
    _, (session,) = call(replicas, stack, "a")
    assert allowed(replicas, session) == "any", "also when it has to be sent again"
    assert allowed(replicas, "unknown") == "any"


def test_a_hedge_goes_to_another_replica(replicas: Replicas, stack: ExitStack) -> None:
    route, _ = call(replicas, stack, "a")
    assert allowed(replicas, replicas.session(route)) == "bc"


def test_a_call_that_waits_for_room_has_no_hedge(replicas: Replicas, stack: ExitStack) -> None:
    route, _ = call(replicas, stack)
    assert not replicas.can_hedge(route)


def test_one_replica_has_no_other(stack: ExitStack) -> None:
    alone = Replicas()
    alone.update("a")
    route, _ = call(alone, stack, "a")
    assert not alone.can_hedge(route)
    alone.update("ab")
    assert alone.can_hedge(route)


def test_a_replica_that_answers_nothing_gets_no_calls(replicas: Replicas, stack: ExitStack) -> None:
    silence(replicas, stack, "a", "b")
    assert replicas.silent == 1
    assert allowed(replicas) == "bc"


def test_a_replica_that_answered_something_meanwhile_is_only_busy(
    replicas: Replicas, stack: ExitStack
) -> None:
    route, (session,) = call(replicas, stack, "a")
    replicas.answered(route, session, 1.2)
    silence(replicas, stack, "a", "b", since=1.0)
    assert replicas.silent == 0


def test_any_answer_ends_the_silence(replicas: Replicas, stack: ExitStack) -> None:
    route, (session,) = call(replicas, stack, "a")
    silence(replicas, stack, "a", "b")
    replicas.answered(route, session, 2.0)
    assert allowed(replicas) == "any"


def test_calls_that_wait_for_a_silent_replica_are_known(replicas: Replicas, stack: ExitStack) -> None:
    here, _ = call(replicas, stack, "a")
    there, _ = call(replicas, stack, "b")
    silence(replicas, stack, "a", "b")
    assert replicas.waits_for_silent(here)
    assert not replicas.waits_for_silent(there)


def test_where_all_are_silent_none_is_passed_over(replicas: Replicas, stack: ExitStack) -> None:
    replicas.update("abcd")
    for name in "abc":
        silence(replicas, stack, name, "d")
    replicas.update("abc")
    assert replicas.silent == 3
    assert allowed(replicas) == "any"


def test_silent_replicas_are_no_place_for_a_hedge(replicas: Replicas, stack: ExitStack) -> None:
    silence(replicas, stack, "a", "b")
    silence(replicas, stack, "c", "b")
    route, _ = call(replicas, stack, "b")
    assert not replicas.can_hedge(route)


def test_a_silent_replica_is_tried_now_and_then(replicas: Replicas, stack: ExitStack) -> None:
    assert replicas.trial(0.0) is None
    silence(replicas, stack, "a", "b", since=1.0)
    assert replicas.trial(1.6) == "a"
    assert replicas.trial(1.6 + 9 * TRIAL_S) is None, "one at a time"
    replicas.trial_ended("a", 20.0)
    assert replicas.trial(20.0 + TRIAL_S / 2) is None
    assert replicas.trial(20.0 + TRIAL_S) == "a"


def test_a_trial_goes_to_the_replica_that_it_is_of(replicas: Replicas, stack: ExitStack) -> None:
    silence(replicas, stack, "a", "b")
    route, _ = call(replicas, stack, only="a")
    session = replicas.session(route)
    assert allowed(replicas, session) == "a"
    replicas.sent(session, "a")
    replicas.answered(route, session, 3.0)
    replicas.trial_ended("a", 3.0)
    assert replicas.silent == 0


def test_replicas_that_have_left_are_forgotten(replicas: Replicas, stack: ExitStack) -> None:
    silence(replicas, stack, "a", "b")
    replicas.update("bc")
    assert replicas.silent == 0
    silence(replicas, stack, "a", "b")
    replicas.trial_ended("a", 1.0)
    assert replicas.silent == 0


def test_nothing_is_kept_of_a_call_that_is_over(replicas: Replicas) -> None:
    with replicas.route("key") as route:
        session = replicas.session(route)
        replicas.sent(session, "a")
    replicas.sent(session, "b")
    assert route.sent == {session: "a"}


def test_router_and_caller_see_the_same_replicas() -> None:
    assert replicas_of("app", "one") is replicas_of("app", "one")
    assert replicas_of("app", "one") is not replicas_of("app", "two")
    assert replicas_of("app", "one") is not replicas_of("other", "one")
