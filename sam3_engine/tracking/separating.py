"""Which masks and memories of a frame count: the rules that follow `passes.step`.

1. Objects do not come to overlap; see `separation`. The frame is remembered as it is answered: an object that has
   lost cells gets another memory of it.
2. An object whose presence is below SURE does not remember the frame. Without this rule, one that vanishes takes the
   next best object for itself, and is sure of it a few frames later.

The package's tracker has both as options, `non_overlap_masks_for_mem_enc` and `use_memory_selection`, with other
measures: docs/video.md has the figures.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from sam3_engine.engine import Engine
from sam3_engine.features import Features
from sam3_engine.tracking.heads import TrackerHeads
from sam3_engine.tracking.looks import likeness
from sam3_engine.tracking.passes import OBJECTS_AT_ONCE, StepItem, Tracked
from sam3_engine.tracking.separation import separated
from sam3_engine.tracking.state import TrackState, passed_over, rewritten
from sam3_engine.upload import upload

SURE = 0.8
"""Least presence of an object in a frame that it remembers."""


@dataclass(frozen=True, slots=True)
class _Changed:
    """An answer that has lost cells. logits: on the device. row, place: of the answer."""

    features: Features
    logits: torch.Tensor
    row: int
    place: int


def separate(
    engine: Engine,
    items: Sequence[StepItem],
    answers: Sequence[Sequence[Tracked]],
    kinds: Sequence[Sequence[Hashable]],
) -> list[list[Tracked]]:
    """The answers of `passes.step` after both rules. kinds: of each object."""
    found = [list(given) for given in answers]
    changed = [
        _Changed(item.features, logits, row, place)
        for row, (item, given, own) in enumerate(zip(items, answers, kinds, strict=True))
        for place, logits in _losers(item, given, own).items()
    ]
    for begin in range(0, len(changed), OBJECTS_AT_ONCE):
        part = changed[begin : begin + OBJECTS_AT_ONCE]
        memories = engine.in_passes(partial(_remember, TrackerHeads(engine.model)), part)
        for one, memory in zip(part, memories, strict=True):
            tracked = found[one.row][one.place]
            state = rewritten(tracked.state, memory, one.logits)
            found[one.row][one.place] = replace(tracked, state=state, mask_logits=one.logits.cpu())
    return [
        [_if_sure(tracked, state, item.frame) for tracked, state in zip(row, item.states, strict=True)]
        for item, row in zip(items, found, strict=True)
    ]


def _losers(item: StepItem, given: Sequence[Tracked], kinds: Sequence[Hashable]) -> dict[int, torch.Tensor]:
    """The logits of the objects that lose cells, by place."""
    if len(given) < 2:
        return {}
    now = torch.stack([tracked.state.logits for tracked in given])
    known = torch.stack([state.look for state in item.states])
    cosines = likeness(item.features.image.pvs[2][0], known, now.shape[-1])
    numbers = upload(torch.tensor([kinds.index(kind) for kind in kinds]), now.device)
    after = separated(now, torch.stack([state.logits for state in item.states]), cosines, numbers)
    lost = (after != now).flatten(1).any(dim=1).tolist()
    return {place: after[place].clone() for place, less in enumerate(lost) if less}


def _if_sure(tracked: Tracked, before: TrackState, frame: int) -> Tracked:
    if tracked.presence >= SURE:
        return tracked
    return replace(tracked, state=passed_over(before, frame, tracked.state.logits))


def _remember(heads: TrackerHeads, changed: Sequence[_Changed]) -> list[torch.Tensor]:
    coarse = torch.cat([one.features.image.pvs[2] for one in changed])
    logits = torch.stack([one.logits for one in changed])
    return [memory.clone() for memory in heads.remember(coarse, logits)]
