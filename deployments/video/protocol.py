"""The interface between the HTTP layer and the service of videos. No torch, no Ray, no HTTP."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from deployments.protocol import ImageFile, Timings
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


class VideoService(Protocol):
    """`deployments.ingress.video.service.VideoSessions` implements it. Each method raises StoreAway."""

    async def open(
        self, tenant: str, rules: SessionRules, limits: SessionLimits, file: bytes = b"", name: str = ""
    ) -> SessionInfo:
        """Begin a session. file: of its video; empty where frames come one by one. name: takes the place of the
        tenant's session that had it. Raises SessionsFull, UnreadableVideo, VideoTooLarge."""
        ...

    async def named(self, tenant: str, name: str) -> tuple[str, bytes] | None:
        """Id and note of the session that has a name; None where no session has it."""
        ...

    async def note(self, tenant: str, session_id: str, note: bytes) -> None:
        """Keep what the session's client says of it. Raises UnknownSession."""
        ...

    async def restart(self, call: SessionCall, rules: SessionRules, timings: Timings) -> int:
        """Begin a session anew, with other rules: its frames, objects and answers are forgotten. Its video file stays,
        and no id is used again. The id of its next object is returned. A stream of its file ends.

        Raises UnknownSession, Overloaded, DeadlineExceeded.
        """
        ...

    async def session(self, tenant: str, session_id: str) -> SessionInfo:
        """A session. Raises UnknownSession."""
        ...

    async def sessions(self, tenant: str) -> list[SessionInfo]:
        """A tenant's sessions, newest first."""
        ...

    async def frames(
        self,
        call: SessionCall,
        images: Sequence[ImageFile],
        first: int | None,
        prompts: FramePrompts,
        timings: Timings,
    ) -> list[bytes]:
        """The session's next frames: all of them are answered, or none. Each answer is the JSON of one frame.

        first: the number of the first one; None: the one that the session expects. Frames that were answered already
        are answered as before. prompts: for the first one.

        Raises UnknownSession, OutOfOrder, BadPrompt, SessionConflict, Overloaded, DeadlineExceeded, and the errors of
        `ImageFile.content`.
        """
        ...

    async def prompt(
        self, call: SessionCall, prompts: FramePrompts, frame: int | None, timings: Timings
    ) -> bytes:
        """Prompts about the frame that was answered last: the objects that they change. frame: its number; None: any.

        Of a video file also about its next frame, and about any frame where none was answered yet: the session then
        begins there. The latest prompts are answered as before when they come again, and count once. Raises as
        `frames`.
        """
        ...

    def propagate(
        self, call: SessionCall, first: int | None, last: int | None, place: Place
    ) -> AsyncGenerator[bytes | Damage]:
        """The answers of a video file's frames, one after the other, to its end; after them Damage, if there is any.

        first, last: numbers of the first one and the last one. Frames that were answered already are answered as
        before, as far back as they are kept. place: is held while frames are worked on. Raises NoFile, and as `frames`;
        what was answered before that stays. Close it where it is not read to its end.
        """
        ...

    async def end(self, tenant: str, session_id: str) -> None:
        """End a session, in every process. Raises UnknownSession."""
        ...
