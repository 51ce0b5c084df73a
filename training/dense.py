"""Auxiliary heads that give every patch of an image something to learn: they exist during training only.

The trunk learns shapes, colours and extents; the fusion encoder learns which patches a prompt is about. Set prediction
alone teaches both slowly.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from training.concepts import COLOURS, SHAPES
from training.scenes import Scene

_SUB = 4
"""Cells per patch and side, so that the grid is that of the mask logits."""


class DenseHead(nn.Module):
    """Per cell of a patch: which shape (or none) and which colour. Per patch: the sides of the object under it, and
    whether a prompt means it.
    """

    def __init__(self, width: int, fused_width: int) -> None:
        super().__init__()
        self.meant = nn.Linear(fused_width, 1)
        self.kinds = len(SHAPES) + 1 + len(COLOURS)
        self.project = nn.Conv2d(width, _SUB * _SUB * self.kinds + 4, 1)

    def forward(self, trunk: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """trunk: [B, C, g, g]. Returns class logits [B, kinds, 4g, 4g] and sides [B, 4, g, g]."""
        out = self.project(trunk)
        return F.pixel_shuffle(out[:, :-4], _SUB), out[:, -4:]


def dense_loss(
    head: DenseHead, trunk: torch.Tensor, scenes: Sequence[Scene], coverage: Sequence[np.ndarray]
) -> torch.Tensor:
    """coverage: per scene float [N, 4g, 4g]."""
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


def meant_loss(head: DenseHead, hidden: torch.Tensor, coverage: torch.Tensor) -> torch.Tensor:
    """Whether each patch belongs to what its prompt asks for.

    hidden: [g * g, P, C] fused features; coverage: float [P, 4g, 4g] of all the prompt's targets together.
    """
    prompts = len(coverage)
    grid = coverage.shape[-1] // _SUB
    target = coverage.view(prompts, grid, _SUB, grid, _SUB).mean((2, 4)).flatten(1)
    logits = head.meant(hidden).squeeze(-1).transpose(0, 1)
    loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (loss * (1 + 3 * target)).mean()
