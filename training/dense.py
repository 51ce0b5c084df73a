"""Auxiliary heads with a loss for every patch of an image. They exist during training only.

The trunk and the features by which objects are tracked learn shapes, colours and extents. The features of a prompt and
of the patches that it means learn to be similar. The fusion encoder learns which patches a prompt means. Set prediction
alone teaches all of this slowly.
"""

import torch
import torch.nn.functional as F
from torch import nn

from sam3_engine.concept import Grounding
from training.batches import CELLS, Scenes
from training.concepts import ALL_CONCEPTS, COLOURS, SHAPES

OWN = 127
"""Coverage above which a cell is an object's, as for the labels of `Scenes`."""
GROUND_WEIGHT = 0.5
"""Weight of all ground together, where all objects together have 1."""


class PatchKinds(nn.Module):
    """Predicts for each cell of a patch the shape (or none) and the colour, and for each patch the sides of its
    object.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(width, CELLS * CELLS * (len(SHAPES) + 1 + len(COLOURS)) + 4, 1)

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """features: [B, C, g, g]. Returns class logits [B, shapes, none and colours, 4g, 4g] and sides [B, 4, g, g]."""
        out = self.project(features)
        return F.pixel_shuffle(out[:, :-4], CELLS), out[:, -4:]


class DenseHead(nn.Module):
    """Predicts the kinds of the patches of the trunk and of the tracker's coarse features, and whether a prompt means a
    patch.
    """

    def __init__(self, width: int, fused_width: int) -> None:
        super().__init__()
        self.meant = nn.Linear(fused_width, 1)
        self.trunk = PatchKinds(width)
        self.tracked = PatchKinds(fused_width)
        self.prompt = nn.Linear(fused_width, fused_width)
        self.patch = nn.LayerNorm(fused_width)
        self.rarity = nn.Parameter(torch.tensor(-3.0))


def dense_loss(head: PatchKinds, features: torch.Tensor, scenes: Scenes) -> torch.Tensor:
    """The loss of shapes, colours and sides. features: [B, C, g, g].

    Every object counts the same for shape and colour: over cells alone, an object a few cells wide taught nothing.
    """
    logits, sides = head(features)
    own = (scenes.coverage > OWN).float()
    cells = own.sum((2, 3), keepdim=True)
    share = (own / cells.clamp(min=1)).sum(1) / (cells > 0).sum().clamp(min=1)
    ground = (scenes.shapes == 0).float()
    weight = share + GROUND_WEIGHT * ground / ground.sum().clamp(min=1)
    shapes = F.cross_entropy(logits[:, : len(SHAPES) + 1], scenes.shapes, reduction="none")
    colours = F.cross_entropy(logits[:, len(SHAPES) + 1 :], scenes.colours, ignore_index=-1, reduction="none")
    far = (sides - scenes.sides).abs().sum(1) * scenes.inside
    return (
        (shapes * weight).sum()
        + (colours * share).sum()
        + 5 * far.sum() / (4 * scenes.inside.sum()).clamp(min=1)
    )


def pooled(tokens: torch.Tensor, padding: torch.Tensor) -> torch.Tensor:
    """Mean over the valid tokens: [L, P, C] and bool [P, L] (True = padding) to [P, C]."""
    valid = (~padding).float().transpose(0, 1).unsqueeze(-1)
    return (tokens * valid).sum(0) / valid.sum(0)


def phrase_loss(
    head: DenseHead, tokens: torch.Tensor, padding: torch.Tensor, patches: torch.Tensor, scenes: Scenes
) -> torch.Tensor:
    """The loss on whether each phrase means each patch of every image, before any fusion.

    tokens [L, F, C] and padding bool [F, L]: the features of ALL_CONCEPTS' phrases in their order, then of words that
    name nothing. patches: [B, C, g, g].
    """
    grid = patches.shape[-1]
    parts = _per_patch(scenes.coverage.float() / 255, grid)
    known = torch.einsum("bnc,bnp->cbp", scenes.meant.float(), parts)
    target = F.pad(known, (0, 0, 0, 0, 0, padding.shape[0] - len(ALL_CONCEPTS)))
    logits = _pointing(head, pooled(tokens, padding), patches)
    loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (loss * (1 + 3 * target)).sum() / (1 + target.sum()) / 4


def aligned_loss(
    head: DenseHead, found: Grounding, patches: torch.Tensor, coverage: torch.Tensor
) -> torch.Tensor:
    """The loss on whether a prompt's pooled features (text and exemplars) point to the patches that it means.

    patches: [P, C, g, g] concept features of each prompt's image; coverage as in `meant_loss`.
    """
    places = head.patch(patches.flatten(2).transpose(1, 2))
    directions = head.prompt(pooled(found.prompt, found.prompt_padding))
    logits = torch.einsum("pc,pnc->pn", directions, places) / places.shape[-1] ** 0.5 + head.rarity
    return _patch_loss(logits, coverage, patches.shape[-1])


def _pointing(head: DenseHead, directions: torch.Tensor, patches: torch.Tensor) -> torch.Tensor:
    """Logits [P, B, g * g] of P directions [P, C] on patches [B, C, g, g]."""
    places = head.patch(patches.flatten(2).transpose(1, 2))
    return (
        torch.einsum("pc,bnc->pbn", head.prompt(directions), places) / places.shape[-1] ** 0.5 + head.rarity
    )


def meant_loss(head: DenseHead, hidden: torch.Tensor, coverage: torch.Tensor) -> torch.Tensor:
    """The loss on whether each patch belongs to its prompt's targets.

    hidden: [g * g, P, C] fused features; coverage: float [P, 4g, 4g] of all the prompt's targets together.
    """
    return _patch_loss(head.meant(hidden).squeeze(-1).transpose(0, 1), coverage, coverage.shape[-1] // CELLS)


def _patch_loss(logits: torch.Tensor, coverage: torch.Tensor, grid: int) -> torch.Tensor:
    target = _per_patch(coverage[:, None], grid)[:, 0]
    loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (loss * (1 + 3 * target)).mean()


def _per_patch(coverage: torch.Tensor, grid: int) -> torch.Tensor:
    """Mean coverage of each patch: [B, N, 4g, 4g] to [B, N, g * g]."""
    return F.avg_pool2d(coverage, coverage.shape[-1] // grid).flatten(2)
