"""The interface between the HTTP layer and the workflow runner. No torch, no Ray, no HTTP, no engine."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from deployments.fairness.flows import Share
from deployments.protocol import DeadlineExceeded, Timings
from deployments.store.sessions import SessionLimits

Question = Literal["validate", "describe_blocks", "describe_interface", "versions"]

HOW_TO_SWITCH_ON = (
    "Workflows are not switched on: install the extra (pip install 'sam3-serve[workflows]') and start the server "
    "with SAM3_WORKFLOWS=true, or `make serve WORKFLOWS=1`"
)


@dataclass(frozen=True, slots=True)
class Place:
    """The place of an image in a run's inputs, and the index of its file."""

    path: Sequence[str | int]
    """Keys and list indices, from the inputs down."""
    file: int
    extras: dict[str, Any] = field(default_factory=dict)
    """The client's other fields of the image: `video_metadata`, `parent_id`."""


@dataclass(frozen=True, slots=True)
class WorkflowRun:
    """One run, as the ingress sends it to the runner."""

    tenant: str
    request: dict[str, Any]
    """The client's request without key and images; the definition is under `specification`."""
    places: Sequence[Place] = ()
    files: Sequence[bytes] = ()
    """The image files' bytes, sent by the client or fetched from its URLs."""
    weight: float = 1.0
    batch: bool = False
    """The tenant's share: see `deployments.fairness.flows.Share`."""
    quota: int | None = None
    """See `deployments.protocol.ImageReference`."""
    videos: SessionLimits | None = None
    """The sessions of videos that the tenant may have; None: none."""

    @property
    def share(self) -> Share:
        """The tenant's share of the workers."""
        return Share(self.tenant, self.weight, self.batch)


@dataclass(frozen=True, slots=True)
class WorkflowAnswer:
    """An HTTP status and the JSON of its body."""

    status: int
    body: bytes


class WorkflowTooLong(DeadlineExceeded):
    """The run passed the server's time limit and was stopped."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the workflow took longer than {seconds:g} s and was stopped")


class Workflows(Protocol):
    """The interface that the HTTP layer calls. `deployments.workflows.runs.Runs` implements it.

    Both methods raise Overloaded and DeadlineExceeded.
    """

    async def run(self, run: WorkflowRun, timings: Timings) -> WorkflowAnswer:
        """Run a workflow."""
        ...

    async def ask(self, question: Question, document: dict[str, Any], timings: Timings) -> WorkflowAnswer:
        """The engine's answer about a definition, or about itself."""
        ...
