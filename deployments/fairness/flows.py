"""The tenants in front of a queue's places: their shares, their requests, and the cost charged to them."""

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto

from deployments.fairness.limit import Limit

LEAST_COST = 1e-6
LEARN = 0.1
"""Share of a request's cost in its tenant's mean."""
CHEAPEST, DEAREST = 0.1, 100.0
"""Bounds of one request's cost, as multiples of its tenant's mean: no single figure decides about a tenant."""


class State(Enum):
    """The states of a request: see `deployments.fairness.queue`."""

    WAITING = auto()
    UNDER_WAY = auto()
    DISPLACED = auto()
    GONE = auto()


@dataclass(frozen=True, slots=True)
class Share:
    """A tenant's part. `weight` > 0: how many times the places of a tenant of weight 1 it gets. `batch`: it comes after
    interactive tenants."""

    tenant: str
    weight: float = 1.0
    batch: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.weight < float("inf"):
            raise ValueError(f"a weight is a positive number, not {self.weight}")


@dataclass(slots=True, eq=False)
class Flow:
    """One tenant's requests, and its virtual time."""

    share: Share
    limit: Limit | None
    """Most requests of this tenant inside; None: no limit of its own."""
    used: float
    """The time when a request last came or went."""
    tag: float = 0.0
    cost: float = 1.0
    """Mean cost of its requests."""
    measured: bool = False
    """`cost` is measured on its own requests, and no guess."""
    under_way: int = 0
    waiting: "deque[Ticket]" = field(default_factory=deque)

    @property
    def inside(self) -> int:
        """Requests under way and waiting."""
        return self.under_way + len(self.waiting)

    def charge(self, charged: float, cost: float) -> None:
        """Replace the charge of a finished request, `charged`, by its real cost, within bounds."""
        cost = max(cost, LEAST_COST)
        if not self.measured:
            self.cost, self.measured = cost, True
        cost = min(max(cost, CHEAPEST * self.cost), DEAREST * self.cost)
        self.tag += (cost - charged) / self.share.weight
        self.cost += LEARN * (cost - self.cost)


@dataclass(slots=True, eq=False)
class Ticket:
    """One request. `changed` is called when a waiting one starts, or is displaced."""

    flow: Flow
    joined: float
    inside: int
    """Its tenant's requests inside when it came, itself included."""
    state: State = State.WAITING
    started: float = 0.0
    beside: int = 0
    """Requests under way when it started, itself included."""
    narrow: bool = False
    """It started while tenants shared the places."""
    charged: float = 0.0
    changed: Callable[[], None] | None = None


def drop_idle(flows: OrderedDict[str, Flow], limit: float) -> None:
    """Forget tenants that were last used before `limit` and have nothing inside."""
    while flows:
        tenant, oldest = next(iter(flows.items()))
        if oldest.used >= limit:
            return
        if oldest.inside:
            oldest.used = limit  # looked at again with the next request
            flows.move_to_end(tenant)
            return
        del flows[tenant]
