"""Messages between an ingress and the workflow runner, inside the cluster."""

from dataclasses import dataclass, field
from typing import Literal

from deployments.protocol import CacheTier
from deployments.workflows.protocol import Question, WorkflowRun


@dataclass(frozen=True, slots=True)
class Job:
    """A run, or a question to the engine."""

    question: Question | Literal["run"]
    run: WorkflowRun
    """The run; for a question, the document that it is about."""
    request_id: str
    deadline: float | None


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
