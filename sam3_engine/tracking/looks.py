"""What an object looks like: the mean of the coarsest features in its mask. Pure functions on tensors.

A look is a unit vector, float32 [d]; that of an empty mask is zero, and like nothing.
"""

from itertools import combinations

import torch
import torch.nn.functional as F

INSIDE = 0.5
"""Share of a feature cell that lies in the mask from which the cell counts: those at the edge show what is around. A
small mask's look is that of the cells which it covers most."""
NEARER = 0.3
"""An object looks like another one where it is at most this share as far from that look as from its own. A distance is
one less the cosine."""
UNLIKE = 0.1
"""Least distance from its own look of an object that looks like another one. Of two that look the same, chance says
which one a mask is nearer to."""


def looks(coarse: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """The looks of B objects, [B, d], by their masks.

    coarse: of each object's frame, [B, d, g, g]; logits: [B, 4g, 4g].
    """
    shares = F.avg_pool2d((logits > 0).float(), logits.shape[-1] // coarse.shape[-1])
    least = shares.amax(dim=(1, 2), keepdim=True).clamp(max=INSIDE)
    weights = torch.where(shares >= least, shares, 0.0)
    return F.normalize(torch.einsum("bdhw,bhw->bd", coarse.float(), weights), dim=-1)


def likeness(coarse: torch.Tensor, known: torch.Tensor, side: int) -> torch.Tensor:
    """How much each cell of a frame looks like each of N objects: cosines, [N, side, side].

    coarse: of the frame, [d, g, g]; known: looks, [N, d].
    """
    found = torch.einsum("dhw,nd->nhw", F.normalize(coarse.float(), dim=0), known)
    return F.interpolate(found[:, None], (side, side), mode="bilinear", align_corners=False)[:, 0]


def exchanged(found: torch.Tensor, known: torch.Tensor) -> list[tuple[int, int]]:
    """The pairs of N objects that each look like the other one; an object is in one pair at most.

    found: looks of their masks in a frame, [N, d]; known: what they look like, [N, d]. Zero looks like nothing.
    """
    distance = 1 - found @ known.T
    own = distance.diagonal()
    seen = found.any(dim=1) & known.any(dim=1)
    unlike = seen & (own >= UNLIKE)
    nearer = (distance <= NEARER * own[:, None]) & unlike[:, None] & seen[None]
    mutual = (nearer & nearer.T).tolist()
    pairs: list[tuple[int, int]] = []
    for one, other in combinations(range(len(mutual)), 2):
        if mutual[one][other] and not any({one, other} & {*pair} for pair in pairs):
            pairs.append((one, other))
    return pairs
