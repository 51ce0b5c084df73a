"""The replicas of one deployment as this process sees them.

A replica is: answering -> silent -> answering, until it leaves the deployment.

answering   It gets calls as the router ranks it.
silent      Another replica has answered a hedge, while this one has answered nothing at all since the hedged call was
            sent to it: a replica that is only busy goes on answering. It gets no call that another replica can get, and
            calls that wait for it are hedged without regard to the budget. Every TRIAL_S it gets a copy of a call, of
            which nobody needs the answer. Any answer of it makes it an answering one.

The router runs in the caller's process and asks the same object: `replicas_of`. It knows a call by its session, the
text that Serve's handles carry to their router.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass, field

TRIAL_S = 1.0
"""Seconds between two trials of a silent replica, and the least that one may take."""
_SEPARATOR = "."


def key_of(session: str) -> str:
    """The key that a session is hashed by."""
    return session.partition(_SEPARATOR)[0]


@dataclass(slots=True)
class Route:
    """The sessions of one call and its hedge, and the replicas they were sent to. `only`: the replica of a trial."""

    key: str
    only: str | None = None
    sessions: list[str] = field(default_factory=list)
    sent: dict[str, str] = field(default_factory=dict)
    """The replica that each session was last sent to."""


class Replicas:
    """The known, the silent and the asked replicas. For one event loop, and a router in this process.

    Times are those of `time.monotonic`.
    """

    def __init__(self) -> None:
        self._known: frozenset[str] = frozenset()
        self._answered: dict[str, float] = {}
        """The time of each replica's last answer."""
        self._silent: dict[str, float] = {}
        """The time when each silent replica's next trial may begin: infinite during a trial."""
        self._routes: dict[str, Route] = {}
        """The route of each session of a call under way."""
        self._numbers = itertools.count()

    @property
    def count(self) -> int:
        """Number of replicas that run."""
        return len(self._known)

    @property
    def silent(self) -> int:
        """Number of silent replicas."""
        return len(self._silent)

    # --- for the router ---

    def update(self, known: Iterable[str]) -> None:
        """These are the deployment's replicas now."""
        self._known = frozenset(known)
        for seen in (self._answered, self._silent):
            for name in seen.keys() - self._known:
                del seen[name]

    def allowed(self, session: str) -> Set[str] | None:
        """Replicas that a call may go to, None for any.

        While others are left, it leaves out silent replicas and those that have the call under another session.
        """
        route = self._routes.get(session)
        if route is not None and route.only in self._known:
            return {route.only}
        left: Set[str] = self._known
        if route is not None and len(route.sent) > (session in route.sent):
            left -= {replica for other, replica in route.sent.items() if other != session}
        left = left or self._known
        if self._silent:
            left = left - self._silent.keys() or left
        return None if len(left) == len(self._known) else left

    def sent(self, session: str, replica: str) -> None:
        """A call goes to this replica."""
        if route := self._routes.get(session):
            route.sent[session] = replica

    # --- for the caller ---

    @contextmanager
    def route(self, key: str, only: str | None = None) -> Iterator[Route]:
        """A call under way. only: the replica that it is a trial of."""
        route = Route(key, only)
        try:
            yield route
        finally:
            for session in route.sessions:
                del self._routes[session]

    def session(self, route: Route) -> str:
        """A new session: for the call, or its hedge."""
        session = f"{route.key}{_SEPARATOR}{next(self._numbers)}"
        route.sessions.append(session)
        self._routes[session] = route
        return session

    def can_hedge(self, route: Route) -> bool:
        """True for a call that was sent to a replica while there is another one that is not silent."""
        asked = set(route.sent.values())
        return bool(asked and self._known - asked - self._silent.keys())

    def waits_for_silent(self, route: Route) -> bool:
        """True for a call that was sent to silent replicas alone."""
        return all(replica in self._silent for replica in route.sent.values())

    def answered(self, route: Route, session: str, now: float) -> None:
        """The call was answered under this session."""
        replica = route.sent.get(session)
        if replica in self._known:
            self._answered[replica] = now
            self._silent.pop(replica, None)

    def outrun(self, route: Route, session: str, since: float, now: float) -> None:
        """The call, sent under this session at `since`, was answered under another one first."""
        replica = route.sent.get(session)
        if replica in self._known and self._answered.get(replica, -math.inf) < since:
            self._silent.setdefault(replica, now)

    def trial(self, now: float) -> str | None:
        """A silent replica whose trial is due, and begins."""
        for replica, due in self._silent.items():
            if due <= now:
                self._silent[replica] = math.inf
                return replica
        return None

    def trial_ended(self, replica: str, now: float) -> None:
        """The trial is over, answered or not: a replica that is still silent gets its next one in TRIAL_S."""
        if replica in self._silent:
            self._silent[replica] = now + TRIAL_S


_replicas: dict[tuple[str, str], Replicas] = {}


def replicas_of(application: str, deployment: str) -> Replicas:
    """This process's one view of a deployment's replicas, for its callers and its router."""
    return _replicas.setdefault((application, deployment), Replicas())
