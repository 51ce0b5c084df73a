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

from collections.abc import Sequence
from dataclasses import replace

from sam3_engine.engine import Engine
from sam3_engine.tracking.detecting import UNSUPPORTED, detect
from sam3_engine.tracking.objects import (
    MOST_OBJECTS,
    Answer,
    Followed,
    NewObject,
    Rules,
    Session,
    Shown,
    Turn,
)
from sam3_engine.tracking.passes import CorrectItem, StartItem, StepItem, correct, start, step
from sam3_engine.tracking.separating import separate
from sam3_engine.tracking.turns import OpenTurn

__all__ = [
    "HIDDEN",
    "MOST_OBJECTS",
    "UNSUPPORTED",
    "Answer",
    "Followed",
    "NewObject",
    "Rules",
    "Session",
    "Shown",
    "Turn",
    "advance",
]

HIDDEN = 300
"""Frames in a row that an object is hidden for, after which it dies."""


def advance(engine: Engine, turns: Sequence[Turn]) -> list[Answer]:
    """Each session's next frame. Objects of all sessions share passes.

    Raises ValueError for a correction or removal of an id that the session does not have, and for more objects than its
    rules allow; the errors of `passes`.
    """
    opened = [OpenTurn.of(turn) for turn in turns]
    _track(engine, opened)
    _prompt(engine, opened)
    detect(engine, opened)
    return [one.close() for one in opened]


def _track(engine: Engine, opened: Sequence[OpenTurn]) -> None:
    due = [[one for one in turn.objects.values() if one.state.frame < turn.turn.frame] for turn in opened]
    items = [
        StepItem(one.turn.features, [followed.state for followed in rows], one.turn.frame)
        for one, rows in zip(opened, due, strict=True)
    ]
    kinds = [[followed.concept for followed in rows] for rows in due]
    found = separate(engine, items, step(engine, items), kinds)
    for one, rows, answers in zip(opened, due, found, strict=True):
        for followed, tracked in zip(rows, answers, strict=True):
            one.keep(followed, tracked)
            hidden = one.turn.frame - one.objects[followed.id].seen
            if followed.concept is not None and hidden >= HIDDEN and followed.id not in one.turn.corrections:
                one.end(followed.id)


def _prompt(engine: Engine, opened: Sequence[OpenTurn]) -> None:
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
            one.keep(replace(followed, concept=None, score=tracked.quality), tracked)
    begun = [
        StartItem(one.turn.features, one.turn.size, [new.prompt for new in one.turn.new], one.turn.frame)
        for one in opened
    ]
    for one, answers in zip(opened, start(engine, begun), strict=True):
        for new, tracked in zip(one.turn.new, answers, strict=True):
            one.begin(new.label, None, tracked.quality, tracked)
