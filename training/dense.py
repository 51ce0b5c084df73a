"""Auxiliary heads with a loss for every patch of an image. They exist during training only.

The trunk learns shapes, colours and extents. The features of a prompt and of the patches that it means learn to be
similar. The fusion encoder learns which patches a prompt means. Set prediction alone teaches all of this slowly.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from sam3_engine.concept import Grounding, TextFeatures
from training.concepts import ALL_CONCEPTS, COLOURS, SHAPES
from training.scenes import Scene

_SUB = 4
"""Cells per side of a patch, so that the grid equals that of the mask logits."""


class DenseHead(nn.Module):
    """Predicts for each cell of a patch the shape (or none) and the colour, and for each patch the sides of its object
    and whether a prompt means it.
    """

    def __init__(self, width: int, fused_width: int) -> None:
        super().__init__()
        self.meant = nn.Linear(fused_width, 1)
        self.kinds = len(SHAPES) + 1 + len(COLOURS)
        self.project = nn.Conv2d(width, _SUB * _SUB * self.kinds + 4, 1)
        self.prompt = nn.Linear(fused_width, fused_width)
        self.patch = nn.LayerNorm(fused_width)
        self.rarity = nn.Parameter(torch.tensor(-3.0))

    def forward(self, trunk: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """trunk: [B, C, g, g]. Returns class logits [B, kinds, 4g, 4g] and sides [B, 4, g, g]."""
        out = self.project(trunk)
        return F.pixel_shuffle(out[:, :-4], _SUB), out[:, -4:]


def dense_loss(
    head: DenseHead, trunk: torch.Tensor, scenes: Sequence[Scene], coverage: Sequence[np.ndarray]
) -> torch.Tensor:
    """The loss of shapes, colours and sides. coverage: per scene float [N, 4g, 4g]."""
    logits, sides = head(trunk)
    grid = trunk.shape[-1]
    shapes = torch.zeros(len(scenes), grid * _SUB, grid * _SUB, dtype=torch.long)
    colours = torch.full_like(shapes, -1)
    extents = torch.zeros(len(scenes), 4, grid, grid)
    inside = torch.zeros(len(scenes), grid, grid, dtype=torch.bool)
    places = (torch.arange(grid) + 0.5) / grid
    for row, (scene, cover) in enumerate(zip(scenes, coverage, strict=True)):
        for shape, part in zip(scene.shapes, cover, strict=True):
            cells = torch.from_numpy(part > 0.5)
            shapes[row][cells] = SHAPES.index(shape.shape) + 1
            colours[row][cells] = COLOURS.index(shape.colour)
            patches = cells.view(grid, _SUB, grid, _SUB).float().mean((1, 3)) > 0.4
            x0, y0, x1, y1 = (
                v / s for v, s in zip(shape.box, (scene.size.width, scene.size.height) * 2, strict=True)
            )
            extent = torch.stack(
                [
                    (places - x0).expand(grid, grid),
                    (places - y0)[:, None].expand(grid, grid),
                    (x1 - places).expand(grid, grid),
                    (y1 - places)[:, None].expand(grid, grid),
                ]
            )
            extents[row][:, patches] = extent[:, patches]
            inside[row] |= patches
    weight = torch.ones(len(SHAPES) + 1)
    weight[0] = 0.4
    loss = F.cross_entropy(logits[:, : len(SHAPES) + 1], shapes, weight=weight)
    loss = loss + F.cross_entropy(logits[:, len(SHAPES) + 1 :], colours, ignore_index=-1)
    return loss + 5 * (sides - extents).abs().permute(0, 2, 3, 1)[inside].mean()


def pooled(tokens: torch.Tensor, padding: torch.Tensor) -> torch.Tensor:
    """Mean over the valid tokens: [L, P, C] and bool [P, L] (True = padding) to [P, C]."""
    valid = (~padding).float().transpose(0, 1).unsqueeze(-1)
    return (tokens * valid).sum(0) / valid.sum(0)


def phrase_loss(
    head: DenseHead,
    text: TextFeatures,
    patches: torch.Tensor,
    scenes: Sequence[Scene],
    coverage: Sequence[np.ndarray],
) -> torch.Tensor:
    """The loss on whether each phrase means each patch of every image, before any fusion.

    text: the features of ALL_CONCEPTS' phrases in their order, then of words that name nothing; patches: [B, C, g, g].
    """
    grid = patches.shape[-1]
    phrases = text.padding.shape[0]
    target = torch.zeros(phrases, len(scenes), grid, grid)
    for row, (scene, cover) in enumerate(zip(scenes, coverage, strict=True)):
        parts = torch.from_numpy(cover).view(-1, grid, _SUB, grid, _SUB).mean((2, 4))
        means = [[c.matches(shape.colour, shape.shape) for shape in scene.shapes] for c in ALL_CONCEPTS]
        target[: len(ALL_CONCEPTS), row] = torch.einsum("cn,nhw->chw", torch.tensor(means).float(), parts)
    logits = _pointing(head, pooled(text.tokens, text.padding), patches)
    loss = F.binary_cross_entropy_with_logits(logits, target.flatten(2), reduction="none")
    return (loss * (1 + 3 * target.flatten(2))).sum() / (1 + target.sum()) / 4


def aligned_loss(
    head: DenseHead, found: Grounding, patches: torch.Tensor, coverage: torch.Tensor
) -> torch.Tensor:
    """The loss on whether a prompt's pooled features (text and exemplars) point to the patches that it means.

    patches: [P, C, g, g] concept features of each prompt's image; coverage as in `meant_loss`.
    """
    directions = pooled(found.prompt, found.prompt_padding)
    logits = _pointing(head, directions, patches).diagonal(dim1=0, dim2=1).transpose(0, 1)
    return _patch_loss(logits, coverage)


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
    return _patch_loss(head.meant(hidden).squeeze(-1).transpose(0, 1), coverage)


def _patch_loss(logits: torch.Tensor, coverage: torch.Tensor) -> torch.Tensor:
    prompts = len(coverage)
    grid = coverage.shape[-1] // _SUB
    target = coverage.view(prompts, grid, _SUB, grid, _SUB).mean((2, 4)).flatten(1)
    loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (loss * (1 + 3 * target)).mean()
