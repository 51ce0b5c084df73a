"""Takes from objects of one frame what belongs to others, in their answers and in their memories."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from sam3_engine.engine import Engine
from sam3_engine.features import Features
from sam3_engine.tracking.heads import TrackerHeads
from sam3_engine.tracking.passes import OBJECTS_AT_ONCE, StepItem, Tracked
from sam3_engine.tracking.separation import separated
from sam3_engine.tracking.state import rewritten


@dataclass(frozen=True, slots=True)
class _Changed:
    """An answer that has lost cells. logits: on the device. row, place: of the answer."""

    features: Features
    logits: torch.Tensor
    presence: float
    row: int
    place: int


def separate(
    engine: Engine, items: Sequence[StepItem], answers: Sequence[Sequence[Tracked]]
) -> list[list[Tracked]]:
    """The answers of `passes.step`, in which the objects of one item do not overlap; see `separation`.

    The frame is remembered as it is answered: an object that has lost cells gets another memory of it.
    """
    changed = [
        _Changed(item.features, logits, tracked.presence, row, place)
        for row, (item, given) in enumerate(zip(items, answers, strict=True))
        for place, (tracked, logits) in enumerate(zip(given, _separated(item, given), strict=True))
        if logits is not tracked.state.logits
    ]
    found = [list(given) for given in answers]
    for begin in range(0, len(changed), OBJECTS_AT_ONCE):
        part = changed[begin : begin + OBJECTS_AT_ONCE]
        memories = engine.in_passes(partial(_remember, TrackerHeads(engine.model)), part)
        for one, memory in zip(part, memories, strict=True):
            tracked = found[one.row][one.place]
            state = rewritten(tracked.state, memory, one.logits)
            found[one.row][one.place] = replace(tracked, state=state, mask_logits=one.logits.cpu())
    return found


def _separated(item: StepItem, given: Sequence[Tracked]) -> list[torch.Tensor]:
    """The logits of each object; the same tensor where it has lost nothing."""
    own = [tracked.state.logits for tracked in given]
    if len(own) < 2:
        return own
    together = torch.stack(own)
    after = separated(together, torch.stack([state.logits for state in item.states]))
    kept = (after == together).flatten(1).all(dim=1).tolist()
    return [before if same else each.clone() for before, each, same in zip(own, after, kept, strict=True)]


def _remember(heads: TrackerHeads, changed: Sequence[_Changed]) -> list[torch.Tensor]:
    coarse = torch.cat([one.features.image.pvs[2] for one in changed])
    logits = torch.stack([one.logits for one in changed])
    there = torch.tensor([one.presence > 0.5 for one in changed], device=logits.device)
    return [memory.clone() for memory in heads.remember(coarse, logits, there)]
