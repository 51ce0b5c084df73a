"""What a session is made of: rules, objects, and a frame's question and answer. All of it is immutable."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from sam3_engine.features import Features
from sam3_engine.tracking.prompts import TrackPrompt
from sam3_engine.tracking.state import TrackState
from sam3_engine.types import ConceptPrompt, ImageSize

MOST_OBJECTS = 64
"""Objects of a session, unless its rules say less."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a session looks for. concepts: found in frames, each under its text as the label. every: frames from one
    detection to the next; 0: only the first frame. most: objects at a time."""

    concepts: tuple[ConceptPrompt, ...] = ()
    every: int = 10
    most: int = MOST_OBJECTS

    def __post_init__(self) -> None:
        if self.every < 0:
            raise ValueError(f"detection runs every 0, 1, 2, ... frames, not {self.every}")
        if not 1 <= self.most <= MOST_OBJECTS:
            raise ValueError(f"a session has 1 to {MOST_OBJECTS} objects, not {self.most}")


@dataclass(frozen=True, slots=True)
class Followed:
    """One object of a session.

    concept: index of the concept that found it; None for an object that a prompt made or corrected. score: of the
    latest detection, or the predicted IoU of the prompt's mask. seen: the last frame that it was visible in; last_seen:
    its mask there, packed bits of [4g, 4g]. unsupported: detections in a row that did not find it.
    """

    id: int
    label: str | None
    concept: int | None
    score: float
    state: TrackState
    seen: int
    last_seen: npt.NDArray[np.uint8]
    unsupported: int = 0


@dataclass(frozen=True, slots=True)
class Session:
    """A video so far. frame: the last one that was answered; -1 before the first. detected: the last frame that
    detection ran on. next_id: of the next new object."""

    rules: Rules = field(default_factory=Rules)
    frame: int = -1
    detected: int | None = None
    next_id: int = 1
    objects: tuple[Followed, ...] = ()

    @property
    def nbytes(self) -> int:
        """Bytes of all objects' arrays."""
        return sum(one.state.nbytes + one.last_seen.nbytes for one in self.objects)


@dataclass(frozen=True, slots=True)
class NewObject:
    """An object to be followed from a prompt on."""

    prompt: TrackPrompt
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """What a session is to do with a frame: objects are tracked, then the prompts count, then detection runs if it is
    due.

    frame: its index, usually the session's plus one. The session's own frame again, or an earlier one, takes prompts
    too: the corrected objects then go on from that frame, and the frames after it answer these objects alone until they
    reach the others. corrections: by id, with all clicks of this frame. removed: ids.
    """

    session: Session
    features: Features
    size: ImageSize
    frame: int
    new: Sequence[NewObject] = ()
    corrections: Mapping[int, TrackPrompt] = field(default_factory=dict)
    removed: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Shown:
    """One object in a frame. mask_logits: float32 [4g, 4g] on the host, the mask is where they are above zero; score:
    see `Followed`; presence: the probability that the object is in the frame."""

    id: int
    label: str | None
    score: float
    presence: float
    mask_logits: torch.Tensor

    @property
    def visible(self) -> bool:
        """Whether the mask has a cell."""
        return bool((self.mask_logits > 0).any())


@dataclass(frozen=True, slots=True)
class Answer:
    """The session after a frame, and its objects in the frame, by id. died: ids that ended here, removed ones too.
    dropped: detections of new objects for which there was no room."""

    session: Session
    shown: tuple[Shown, ...]
    died: tuple[int, ...] = ()
    dropped: int = 0
