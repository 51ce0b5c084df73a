"""The result of a load test."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from harness.figures import Latency, latency
from harness.records import Figures, Record, by_kind, figures
from harness.usage import Usage
from loadtest.baselines import Comparison


@dataclass(frozen=True)
class Point:
    """The figures of one constant load. Rates are in requests per second."""

    clients: int
    """Closed loop; 0 in an open one."""
    sessions_per_s: float
    """Open loop."""
    offered: float
    """Rate of requests that were due during the load."""
    achieved: float
    """Rate of correct answers during the load."""
    latency: Latency
    refused: int
    failed: int
    """Number of requests without a correct answer that were not refused either."""
    late_s: float
    """99th percentile of the generator's delay after a request was due: its own part of the latency."""

    def meets(self, objective_s: float) -> bool:
        """True if the server kept up with the offered load: all answers correct, p99 within the objective."""
        if not self.offered:  # a low rate for a short time
            return True
        if self.refused or self.failed:
            return False
        return self.latency.p99 <= objective_s and self.achieved >= 0.9 * self.offered


def point(records: Sequence[Record], seconds: float, clients: int = 0, sessions_per_s: float = 0.0) -> Point:
    """The figures of one load that lasted `seconds`."""
    due = [record for record in records if record.due < seconds]
    good = [record for record in due if record.ok]
    refused = sum(record.refused for record in due)
    return Point(
        clients,
        sessions_per_s,
        len(due) / seconds,
        sum(record.done < seconds for record in good) / seconds,
        latency([record.seconds for record in good]),
        refused,
        len(due) - len(good) - refused,
        latency([record.sent - record.due for record in due]).p99,
    )


def knee(points: Sequence[Point], objective_s: float) -> Point | None:
    """The highest of ascending loads before the first that misses the objective."""
    last = None
    for one in points:
        if not one.meets(objective_s):
            break
        last = one if one.offered else last
    return last


@dataclass
class Result:
    """A whole load test."""

    scenario: str
    command: str
    machine: dict[str, object]
    settings: dict[str, Any]
    objective_s: float
    click_iou: float
    """Mean IoU of the clicks' masks with the drawings, in the reference."""
    checked: int
    """Number of prompts on pictures whose answers were compared with the reference."""
    sweep: list[Point] = field(default_factory=list)
    ramp: list[Point] = field(default_factory=list)
    steady: Point | None = None
    steady_s: float = 0.0
    records: list[Record] = field(default_factory=list)
    """Records of the steady load."""
    usage: Usage = field(default_factory=Usage)
    tiers: dict[str, float] = field(default_factory=dict)
    """Lookups during the steady load, by tier; empty if the server does not report them."""
    comparison: Comparison | None = None

    @property
    def knee(self) -> Point | None:
        """The knee of the ramp."""
        return knee(self.ramp, self.objective_s)

    def by_kind(self) -> dict[str, Figures]:
        """The steady load's figures, over all requests and by kind."""
        kinds = {kind: figures(records) for kind, records in by_kind(self.records).items()}
        return {"all": figures(self.records), **kinds}
