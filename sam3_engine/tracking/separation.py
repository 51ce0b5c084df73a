"""Which object a cell belongs to that several objects of one frame claim. Pure functions on mask logits.

The rule, a cell being claimed where an object's logit is above zero:

1. A cell belongs to the object with the highest logit, as in the package (`_apply_non_overlapping_constraints`), less
   STEP for each step from the object's mask in the last frame, and more by LOOK times the cosine of the cell's features
   and the object's look. A step is a 64th of the frame's side in whole cells, at least one. An object that was hidden
   is STEPS steps away from every cell.
2. Two objects do not dispute where one mask held NESTED of the other in the last frame: one is a part of the other, or
   somebody began it twice. For objects of different kinds, such as a person and a hat, OVERLAPPING is enough: tracking
   lets no masks overlap that did not, so a prompt or detection gave them so.
"""

import torch
import torch.nn.functional as F

STEP = 0.3
"""What a step is worth in logits."""
LOOK = 10.0
"""What a cosine of 1 between a cell's features and an object's look is worth in logits."""
STEPS = 8
"""Steps to which an object's way from the last frame is measured."""
NESTED = 0.9
"""Share of the smaller of two masks from which it may lie in the other."""
OVERLAPPING = 0.1
"""The same for objects of different kinds."""
LOST = -10.0
"""Highest logit of a cell that an object has lost, as in the package."""


def separated(
    logits: torch.Tensor, before: torch.Tensor, likeness: torch.Tensor, kinds: torch.Tensor
) -> torch.Tensor:
    """The logits of N objects in a frame, [N, h, w], without the cells that belong to another one.

    before: their logits in the last frame. likeness: how much each cell looks like each object, cosines [N, h, w].
    kinds: objects with equal numbers are of one kind, [N].
    """
    claimed = logits > 0
    disputed = claimed.sum(dim=0) > 1
    rows = (claimed & disputed).flatten(1).any(dim=1).nonzero()[:, 0]
    if not len(rows):
        return logits
    claims, masks = claimed[rows], before[rows] > 0
    score = logits[rows] - STEP * _steps_from(masks) + LOOK * likeness[rows]
    rank = torch.where(claims, score, -torch.inf)
    alike = kinds[rows, None] == kinds[rows]
    rivals = ~_nested(masks, torch.where(alike, NESTED, OVERLAPPING))
    found = logits.clone()
    for place, row in enumerate(rows.tolist()):
        better = rank > rank[place]
        better[:place] |= rank[:place] == rank[place]
        lost = claims[place] & (better & rivals[place, :, None, None]).any(dim=0)
        found[row] = torch.where(lost, logits[row].clamp(max=LOST), logits[row])
    return found


def _steps_from(masks: torch.Tensor) -> torch.Tensor:
    """Each cell's distance from a mask, 0 to STEPS, [N, h, w]."""
    reach = max(1, masks.shape[-1] // 64)
    grown = masks.float().unsqueeze(1)
    steps = torch.zeros_like(grown)
    for _ in range(STEPS):
        steps += 1 - grown
        grown = F.max_pool2d(grown, 2 * reach + 1, stride=1, padding=reach)
    return steps[:, 0]


def _nested(masks: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """Whether one mask lies in the other by more than a share, bool [N, N]; each does in itself. shares: [N, N]."""
    flat = masks.flatten(1).float()
    area = flat.sum(dim=1)
    nested = flat @ flat.T > shares * torch.minimum(area[:, None], area[None])
    return nested | torch.eye(len(masks), dtype=torch.bool, device=masks.device)
