"""What an object looks like: the mean of the coarsest features in its mask. Pure functions on tensors.

A look is a unit vector, float32 [d]; that of an empty mask is zero.
"""

import torch
import torch.nn.functional as F

INSIDE = 0.5
"""Share of a feature cell that lies in the mask from which the cell counts: those at the edge show what is around. A
small mask's look is that of the cells which it covers most."""


def looks(coarse: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """The looks of B objects, [B, d], by their masks.

    coarse: of each object's frame, [B, d, g, g]; logits: [B, 4g, 4g].
    """
    shares = F.avg_pool2d((logits > 0).float(), logits.shape[-1] // coarse.shape[-1])
    least = shares.amax(dim=(1, 2), keepdim=True).clamp(max=INSIDE)
    weights = torch.where(shares >= least, shares, 0.0)
    return F.normalize(torch.einsum("bdhw,bhw->bd", coarse.float(), weights), dim=-1)


def likeness(coarse: torch.Tensor, known: torch.Tensor, side: int) -> torch.Tensor:
    """How much each cell of a frame looks like each of N > 0 objects: cosines, [N, side, side].

    coarse: of the frame, [d, g, g]; known: looks, [N, d]. To an object without a look, a cell is as like as to the
    object that it is most like: the object neither gains nor loses by it.
    """
    found = torch.einsum("dhw,nd->nhw", F.normalize(coarse.float(), dim=0), known)
    found = torch.where(known.any(dim=1)[:, None, None], found, found.amax(dim=0))
    return F.interpolate(found[:, None], (side, side), mode="bilinear", align_corners=False)[:, 0]
