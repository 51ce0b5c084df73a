"""What the HTTP layer and the workflow runner say to each other. No torch, no Ray, no HTTP, no engine."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from deployments.protocol import DeadlineExceeded, Timings

Question = Literal["validate", "describe_blocks", "describe_interface", "versions"]

HOW_TO_SWITCH_ON = (
    "Workflows are not switched on: install the extra (pip install 'sam3-serve[workflows]') and start the server "
    "with SAM3_WORKFLOWS=true, or `make serve WORKFLOWS=1`"
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a run's inputs an image belongs, and which of its files it is."""

    path: Sequence[str | int]
    """Keys and list indices, from the inputs down."""
    file: int
    extras: dict[str, Any] = field(default_factory=dict)
    """What else the client said of the image: `video_metadata`, `parent_id`."""


@dataclass(frozen=True, slots=True)
class WorkflowRun:
    """One run, as the ingress hands it on."""

    tenant: str
    request: dict[str, Any]
    """What the client sent, the definition under `specification`, its key and its images taken out."""
    places: Sequence[Place] = ()
    files: Sequence[bytes] = ()
    """The image files, as they came or as they were fetched."""


@dataclass(frozen=True, slots=True)
class WorkflowAnswer:
    """An HTTP status and the JSON of its body."""

    status: int
    body: bytes


class WorkflowTooLong(DeadlineExceeded):
    """The run took longer than one may, and was stopped."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"the workflow took longer than {seconds:g} s and was stopped")


class Workflows(Protocol):
    """What the HTTP layer needs. `deployments.workflows.runs.Runs` is the real one, wherever it runs.

    Both raise Overloaded and DeadlineExceeded.
    """

    async def run(self, run: WorkflowRun, timings: Timings) -> WorkflowAnswer:
        """Run a workflow."""
        ...

    async def ask(self, question: Question, document: dict[str, Any], timings: Timings) -> WorkflowAnswer:
        """What the engine says about a definition, or about itself."""
        ...
