"""What the HTTP layer and the service of videos say to each other. No torch, no Ray, no HTTP."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from deployments.protocol import Timings
from deployments.store.sessions import SessionLimits
from sam3_engine.types import ConceptPrompt, ImageSize, MaskFormat, VisualPrompt

MOST_OBJECTS = 64
"""Objects of one session, as `sam3_engine.tracking` bounds them."""
EVERY = 10
"""Frames from one detection to the next, unless the client says otherwise."""
MOST_CONCEPTS = 16
"""Texts of one session."""


@dataclass(frozen=True, slots=True)
class SessionRules:
    """What a session looks for. concepts: texts, found in every `every`-th frame; 0: in the first one only. most:
    objects at a time."""

    concepts: tuple[ConceptPrompt, ...] = ()
    every: int = EVERY
    most: int = MOST_OBJECTS


@dataclass(frozen=True, slots=True)
class ObjectPrompt:
    """Clicks and a box for one object of a frame. object_id: of the object to correct; None: a new object. prompt:
    None removes the object. label: of a new object."""

    object_id: int | None
    prompt: VisualPrompt | None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class FramePrompts:
    """What a client says about one frame. concepts: to be looked for from this frame on, beside the session's own."""

    objects: tuple[ObjectPrompt, ...] = ()
    concepts: tuple[ConceptPrompt, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.objects or self.concepts)


NO_PROMPTS = FramePrompts()


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What a video file says of itself; it may be wrong. size: of its first frame, upright; frames, rate (frames a
    second) and seconds: None where it does not say."""

    size: ImageSize
    frames: int | None
    rate: float | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """A session as its client sees it. next_frame: the number of the frame that it expects. objects: id and label.
    video: of the file that it was begun with; None where frames come one by one."""

    session_id: str
    rules: SessionRules
    next_frame: int
    objects: tuple[tuple[int, str | None], ...]
    age_s: float
    video: VideoFacts | None = None


@dataclass(frozen=True, slots=True)
class SessionCall:
    """One request about a session. mask_format: of its answers. limits: of the tenant."""

    tenant: str
    session_id: str
    mask_format: MaskFormat
    limits: SessionLimits


@dataclass(frozen=True, slots=True)
class Damage:
    """Comes after the last frame of a file that is cut or damaged. reason: for people."""

    reason: str


class UnknownSession(Exception):
    """The tenant has no such session, or it has ended."""

    def __init__(self, session_id: str) -> None:
        super().__init__(
            f"there is no video session {session_id[:64]!r}: it was deleted, or nobody asked for it for too long"
        )


class OutOfOrder(Exception):
    """The frame is not the one that the session expects, nor one whose answer it still has. expected: its number."""

    def __init__(self, message: str, expected: int) -> None:
        super().__init__(message)
        self.expected = expected


class NoFile(Exception):
    """The session was begun without a video file."""

    def __init__(self) -> None:
        super().__init__("this session has no video file: its frames are sent by .../frames")


class BadPrompt(Exception):
    """No session could do with these prompts: a place lies outside the frame, or an object has several prompts."""


class SessionConflict(Exception):
    """The session cannot do with a request as it is now: it has no such object, no room for another one, or a file."""


Place = Callable[[], AbstractAsyncContextManager[Timings]]
"""Waits for the tenant's turn, and gives the timings of the work that it is for."""
