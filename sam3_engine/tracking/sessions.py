"""Videos with all their objects, as immutable sessions: ids, births and deaths, and a frame at a time.

    session = Session(Rules((ConceptPrompt("star"),), every=10))
    answer = advance(engine, [Turn(session, features, size, frame=0)])[0]
    answer.shown      # the objects in this frame: id, label, score, mask logits
    answer.session    # for the next frame

Rules of objects that a concept finds (`Rules.concepts`):

- Detection runs on the session's first frame, and after it on every `Rules.every`-th one; 0 means on no other.
- `association` says which detection is which object, concept by concept, and which is a new object.
- An object that is detected takes the detection's mask, and goes on from it.
- An object dies after UNSUPPORTED detections in a row that show it in the frame and do not find it, and after HIDDEN
  frames without a place in the frame.

An object that a prompt made or corrected lives until it is removed: no detection changes it. Ids begin at 1, and are
never used again. A session has at most `Rules.most` objects: further detections are dropped, further prompts refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import torch

from sam3_engine.engine import ConceptItem, Engine
from sam3_engine.features import Features
from sam3_engine.tracking.association import associate
from sam3_engine.tracking.passes import CorrectItem, StartItem, StepItem, Tracked, correct, start, step
from sam3_engine.tracking.prompts import MaskPrompt, TrackPrompt
from sam3_engine.tracking.state import TrackState
from sam3_engine.types import ConceptPrompt, ImageSize

UNSUPPORTED = 5
"""Detections in a row that do not find an object in the frame, after which it dies: it has drifted elsewhere."""
HIDDEN = 300
"""Frames in a row that an object is hidden for, after which it dies."""
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
    """The session after a frame, and its objects in the frame, by id. died: ids that ended here. dropped: detections of
    new objects for which there was no room."""

    session: Session
    shown: tuple[Shown, ...]
    died: tuple[int, ...] = ()
    dropped: int = 0


@dataclass(slots=True)
class _Open:
    """A session's turn under way: its objects, and what the frame shows of each."""

    turn: Turn
    objects: dict[int, Followed]
    tracked: dict[int, Tracked] = field(default_factory=dict)
    next_id: int = 1
    detected: int | None = None
    died: list[int] = field(default_factory=list)
    dropped: int = 0


def advance(engine: Engine, turns: Sequence[Turn]) -> list[Answer]:
    """Each session's next frame. Objects of all sessions share passes.

    Raises ValueError for a correction or removal of an id that the session does not have, and for more objects than its
    rules allow; the errors of `passes`.
    """
    opened = [_open(turn) for turn in turns]
    _track(engine, opened)
    _prompt(engine, opened)
    _detect(engine, opened)
    return [_close(one) for one in opened]


def _open(turn: Turn) -> _Open:
    session = turn.session
    objects = {one.id: one for one in session.objects}
    unknown = sorted(
        {*turn.corrections, *turn.removed} - set(objects) | set(turn.corrections) & set(turn.removed)
    )
    if unknown:
        raise ValueError(f"the session has no object {unknown[0]}")
    if turn.frame < 0:
        raise ValueError(f"frames are counted from 0, not {turn.frame}")
    for number in turn.removed:
        objects.pop(number, None)
    if len(objects) + len(turn.new) > session.rules.most:
        raise ValueError(f"the session follows {len(objects)} objects, and may follow {session.rules.most}")
    return _Open(turn, objects, next_id=session.next_id, detected=session.detected)


def _track(engine: Engine, opened: Sequence[_Open]) -> None:
    due = [[one for one in turn.objects.values() if one.state.frame < turn.turn.frame] for turn in opened]
    items = [
        StepItem(one.turn.features, [followed.state for followed in rows], one.turn.frame)
        for one, rows in zip(opened, due, strict=True)
    ]
    for one, rows, answers in zip(opened, due, step(engine, items), strict=True):
        for followed, tracked in zip(rows, answers, strict=True):
            _keep(one, followed, tracked)
            hidden = one.turn.frame - one.objects[followed.id].seen
            if followed.concept is not None and hidden >= HIDDEN and followed.id not in one.turn.corrections:
                _end(one, followed.id)


def _prompt(engine: Engine, opened: Sequence[_Open]) -> None:
    corrected = [
        [(one.objects[number], prompt) for number, prompt in one.turn.corrections.items()] for one in opened
    ]
    items = [
        CorrectItem(
            one.turn.features,
            one.turn.size,
            [followed.state for followed, _ in pairs],
            [prompt for _, prompt in pairs],
            one.turn.frame,
        )
        for one, pairs in zip(opened, corrected, strict=True)
    ]
    for one, pairs, answers in zip(opened, corrected, correct(engine, items), strict=True):
        for (followed, _), tracked in zip(pairs, answers, strict=True):
            _keep(one, replace(followed, concept=None, score=tracked.quality), tracked)
    begun = [
        StartItem(one.turn.features, one.turn.size, [new.prompt for new in one.turn.new], one.turn.frame)
        for one in opened
    ]
    for one, answers in zip(opened, start(engine, begun), strict=True):
        for new, tracked in zip(one.turn.new, answers, strict=True):
            _begin(one, new.label, None, tracked.quality, tracked)


def _detect(engine: Engine, opened: Sequence[_Open]) -> None:
    due = [one for one in opened if _is_due(one.turn)]
    items = [ConceptItem(one.turn.features, one.turn.size, one.turn.session.rules.concepts) for one in due]
    for one, found in zip(due, engine.segment_concepts(items), strict=True):
        one.detected = one.turn.frame
        for concept, detections in enumerate(found):
            logits = detections.mask_logits.float()
            _associate(engine, one, concept, logits, detections.scores.tolist())


def _is_due(turn: Turn) -> bool:
    session = turn.session
    if not session.rules.concepts:
        return False
    if session.detected is None:
        return True
    return 0 < session.rules.every <= turn.frame - session.detected


def _associate(
    engine: Engine, one: _Open, concept: int, logits: torch.Tensor, scores: Sequence[float]
) -> None:
    turn, side = one.turn, logits.shape[-1]
    own = [followed for followed in one.objects.values() if followed.concept == concept]
    others = [followed for followed in one.objects.values() if followed.concept is None]
    present = _masks(
        [one.tracked[each.id].mask_logits if each.id in one.tracked else None for each in own], side
    )
    strange = _masks(
        [one.tracked[each.id].mask_logits if each.id in one.tracked else None for each in others], side
    )
    before = {each.id: each.last_seen for each in turn.session.objects}
    last = np.array([_unpacked(before[each.id], side) for each in own], dtype=np.bool_)
    last = last.reshape(len(own), side * side)
    masks = (logits > 0).flatten(1).cpu().numpy()
    found = associate(present, last, masks, scores, strange)
    matched = list(found.matches.items())
    states = [own[row].state for row, _ in matched]
    prompts = [MaskPrompt(logits[column]) for _, column in matched]
    item = CorrectItem(turn.features, turn.size, states, prompts, turn.frame)
    for (row, column), tracked in zip(matched, correct(engine, [item])[0], strict=True):
        _keep(one, replace(own[row], score=scores[column], unsupported=0), tracked)
    for row, followed in enumerate(own):
        if row not in found.matches and present[row].any():
            one.objects[followed.id] = replace(followed, unsupported=followed.unsupported + 1)
            if followed.unsupported + 1 >= UNSUPPORTED:
                _end(one, followed.id)
    room = turn.session.rules.most - len(one.objects)
    born = found.new[: max(room, 0)]
    one.dropped += len(found.new) - len(born)
    label = turn.session.rules.concepts[concept].text
    begin = StartItem(turn.features, turn.size, [MaskPrompt(logits[row]) for row in born], turn.frame)
    for row, tracked in zip(born, start(engine, [begin])[0], strict=True):
        _begin(one, label, concept, scores[row], tracked)


def _begin(one: _Open, label: str | None, concept: int | None, score: float, tracked: Tracked) -> None:
    number, one.next_id = one.next_id, one.next_id + 1
    _keep(
        one, Followed(number, label, concept, score, tracked.state, one.turn.frame, _packed(tracked)), tracked
    )


def _keep(one: _Open, followed: Followed, tracked: Tracked) -> None:
    """Take an object's answer; where it is visible, it has been seen here."""
    one.tracked[followed.id] = tracked
    followed = replace(followed, state=tracked.state)
    if (tracked.mask_logits > 0).any():
        followed = replace(followed, seen=one.turn.frame, last_seen=_packed(tracked))
    one.objects[followed.id] = followed


def _end(one: _Open, number: int) -> None:
    del one.objects[number], one.tracked[number]
    one.died.append(number)


def _close(one: _Open) -> Answer:
    session = one.turn.session
    shown = tuple(
        Shown(number, followed.label, followed.score, tracked.presence, tracked.mask_logits)
        for number, followed in sorted(one.objects.items())
        if (tracked := one.tracked.get(number)) is not None
    )
    after = Session(session.rules, one.turn.frame, one.detected, one.next_id, tuple(one.objects.values()))
    return Answer(after, shown, tuple(one.died), one.dropped)


def _masks(logits: Sequence[torch.Tensor | None], side: int) -> npt.NDArray[np.bool_]:
    empty = torch.full((side, side), -1.0)
    rows = [(empty if one is None else one).numpy().reshape(-1) > 0 for one in logits]
    return np.array(rows, dtype=np.bool_).reshape(len(logits), side * side)


def _packed(tracked: Tracked) -> npt.NDArray[np.uint8]:
    return np.packbits((tracked.mask_logits > 0).numpy())


def _unpacked(packed: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.bool_]:
    return np.unpackbits(packed, count=side * side).astype(np.bool_)
