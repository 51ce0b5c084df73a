"""Messages between an ingress and the workflow runner, inside the cluster."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from deployments.protocol import CacheTier
from deployments.workflows.protocol import Place, Question


@dataclass(frozen=True, slots=True)
class Job:
    """A run, or a question to the engine."""

    question: Question | Literal["run"]
    document: dict[str, Any]
    tenant: str
    request_id: str
    deadline: float | None
    places: Sequence[Place] = ()
    files: Sequence[bytes] = ()


@dataclass(frozen=True, slots=True)
class Done:
    """The answer, and the timings of the run's images."""

    status: int
    body: bytes
    cache: CacheTier | None = None
    stages: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NotDone:
    """The reason why there is no answer."""

    reason: Literal["overloaded", "deadline", "too_long"]
    seconds: float = 0.0
    """Seconds to wait before the next try, or the time limit that the run passed."""


Reply = Done | NotDone
