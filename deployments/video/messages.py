"""Messages between ingress and decoder about frames of videos. No torch, no Ray.

As in `deployments.messages`: a message that holds references may only be an argument or a result of an actor's task.
"""

from dataclasses import dataclass, field
from typing import Any

from deployments.messages import Expired, NeedImage
from deployments.video.protocol import NO_PROMPTS, FramePrompts
from deployments.video.record import Record
from sam3_engine.types import ImageSize, MaskFormat


@dataclass(frozen=True, slots=True)
class EncodedFrame:
    """A frame's embedding. number: of the frame in its video. size: of the upright picture. reference: one ObjectRef to
    a `sam3_engine.embedding.Embedding`, nested. seconds: see `Record`."""

    number: int
    size: ImageSize
    reference: list[Any]
    prompts: FramePrompts = NO_PROMPTS
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class TrackJob:
    """Frames of one session, in their order, to be answered one after the other.

    base: the revision of `record`, under which a decoder holds the tracker's state. revision: of the session after
    these frames.
    """

    tenant: str
    session: str
    base: str
    record: Record
    revision: str
    frames: tuple[EncodedFrame, ...]
    mask_format: MaskFormat = "rle"
    deadline: float | None = None
    """`time.time()` after which the client no longer waits."""
    elsewhere: int = 0
    """Number of decoders to skip: each increment routes the job to another one."""
    traceparent: str | None = None
    """See `deployments.observe.tracing`."""


@dataclass(frozen=True, slots=True)
class Tracked:
    """The frames' answers, each JSON, and the session's record after them."""

    record: Record
    answers: tuple[bytes, ...]
    resumed: str = "hot"
    """Where the tracker's state was: hot, warm, or masks, where it was lost."""
    stages: dict[str, float] = field(default_factory=dict)


TrackReply = Tracked | NeedImage | Expired
