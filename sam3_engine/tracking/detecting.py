"""Finds the objects of concepts in a frame, and tells which of them a session follows already.

The rules are those of `sessions`. All frames that are due share the model's passes, and so do all masks that become
prompts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from sam3_engine.engine import ConceptDetections, ConceptItem, Engine
from sam3_engine.tracking.association import Association, associate
from sam3_engine.tracking.objects import Followed, Turn
from sam3_engine.tracking.passes import CorrectItem, StartItem, correct, start
from sam3_engine.tracking.prompts import MaskPrompt
from sam3_engine.tracking.turns import OpenTurn, unpacked

UNSUPPORTED = 5
"""Detections in a row that do not find an object in the frame, after which it dies: it has drifted elsewhere."""


@dataclass(frozen=True, slots=True)
class _Compared:
    """The detections of one concept in one frame, and its objects. present: bool [objects, cells], their masks."""

    one: OpenTurn
    concept: int
    logits: torch.Tensor
    scores: Sequence[float]
    own: Sequence[Followed]
    present: npt.NDArray[np.bool_]
    found: Association


def detect(engine: Engine, opened: Sequence[OpenTurn]) -> None:
    """Run detection in the turns for which it is due."""
    due = [one for one in opened if _is_due(one.turn)]
    items = [ConceptItem(one.turn.features, one.turn.size, one.turn.session.rules.concepts) for one in due]
    compared = []
    for one, found in zip(due, engine.segment_concepts(items), strict=True):
        one.detected = one.turn.frame
        compared += [_compare(one, concept, detections) for concept, detections in enumerate(found)]
    _refresh(engine, compared)
    _doubt(compared)
    _add(engine, compared)


def _is_due(turn: Turn) -> bool:
    session = turn.session
    if not session.rules.concepts:
        return False
    if session.detected is None:
        return True
    return 0 < session.rules.every <= turn.frame - session.detected


def _compare(one: OpenTurn, concept: int, detections: ConceptDetections) -> _Compared:
    logits = detections.mask_logits.float()
    cells = logits.shape[-1] ** 2
    own = [followed for followed in one.objects.values() if followed.concept == concept]
    others = [followed for followed in one.objects.values() if followed.concept is None]
    before = {each.id: each.last_seen for each in one.turn.session.objects}
    last = [unpacked(before[each.id], cells) for each in own]
    present = _masks(one, own, cells)
    scores = detections.scores.tolist()
    found = associate(
        present,
        np.array(last, dtype=np.bool_).reshape(len(own), cells),
        (logits > 0).flatten(1).cpu().numpy(),
        scores,
        _masks(one, others, cells),
    )
    return _Compared(one, concept, logits, scores, own, present, found)


def _masks(one: OpenTurn, objects: Sequence[Followed], cells: int) -> npt.NDArray[np.bool_]:
    """The masks of objects in the frame, bool [objects, cells]; empty for one that is not answered there."""
    masks = np.zeros((len(objects), cells), dtype=np.bool_)
    for row, followed in zip(masks, objects, strict=True):
        if followed.id in one.tracked:
            row[:] = one.tracked[followed.id].mask_logits.numpy().reshape(-1) > 0
    return masks


def _refresh(engine: Engine, compared: Sequence[_Compared]) -> None:
    """Detected objects go on from the detection's mask."""
    items = [
        CorrectItem(
            each.one.turn.features,
            each.one.turn.size,
            [each.own[row].state for row in each.found.matches],
            [MaskPrompt(each.logits[column]) for column in each.found.matches.values()],
            each.one.turn.frame,
        )
        for each in compared
    ]
    for each, answers in zip(compared, correct(engine, items), strict=True):
        for (row, column), tracked in zip(each.found.matches.items(), answers, strict=True):
            each.one.keep(replace(each.own[row], score=each.scores[column], unsupported=0), tracked)


def _doubt(compared: Sequence[_Compared]) -> None:
    """Objects in the frame that no detection found."""
    for each in compared:
        for row, followed in enumerate(each.own):
            if row in each.found.matches or not each.present[row].any():
                continue
            each.one.objects[followed.id] = replace(followed, unsupported=followed.unsupported + 1)
            if followed.unsupported + 1 >= UNSUPPORTED:
                each.one.end(followed.id)


def _add(engine: Engine, compared: Sequence[_Compared]) -> None:
    """Detections of new objects, as many as there is room for."""
    chosen, items, coming = [], [], dict[int, int]()
    for each in compared:
        turn, session = each.one.turn, id(each.one)
        room = turn.session.rules.most - len(each.one.objects) - coming.get(session, 0)
        rows = each.found.new[: max(room, 0)]
        coming[session] = coming.get(session, 0) + len(rows)
        each.one.dropped += len(each.found.new) - len(rows)
        chosen.append(rows)
        prompts = [MaskPrompt(each.logits[row]) for row in rows]
        items.append(StartItem(turn.features, turn.size, prompts, turn.frame))
    for each, rows, answers in zip(compared, chosen, start(engine, items), strict=True):
        label = each.one.turn.session.rules.concepts[each.concept].text
        for row, tracked in zip(rows, answers, strict=True):
            each.one.begin(label, each.concept, each.scores[row], tracked)
