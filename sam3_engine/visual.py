"""Promptable visual segmentation (clicks and boxes) as pure functions.

The steps are those of `SAM3InteractiveImagePredictor.predict`, batched over prompts and images. Prompts are grouped by
their number of points: padding would add tokens that every point attends to, and a prompt's answer must not depend on
the other prompts of the batch.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sam3.model.sam3_image import Sam3Image

from sam3_engine.coordinates import normalised
from sam3_engine.features import Pyramid
from sam3_engine.types import ImageSize, VisualPrompt
from sam3_engine.upload import upload

TOP_LEFT, BOTTOM_RIGHT, PADDING = 2, 3, -1


@dataclass(frozen=True, slots=True)
class Clicks:
    """P prompts of equal length. points: [P, N, 2] (x, y) in the model's pixels; labels: int [P, N].

    Labels as in SAM: 1 positive, 0 negative, 2 and 3 a box's corners, -1 padding. previous: [P, 1, 4g, 4g] or None.
    """

    points: torch.Tensor
    labels: torch.Tensor
    previous: torch.Tensor | None


@dataclass(frozen=True, slots=True)
class Proposals:
    """M = 1 or 3 masks for each of P prompts. logits: [P, M, 4g, 4g] mask logits; quality: [P, M] predicted IoU."""

    logits: torch.Tensor
    quality: torch.Tensor


def propose(
    model: Sam3Image, pvs: Pyramid, clicks: Clicks, *, multimask: bool, position: torch.Tensor | None = None
) -> Proposals:
    """Mask proposals for P prompts. pvs: one row per prompt, or one for all. position: `dense_position`, which is the
    same for all images. Reads no value back to the host, so that a CUDA graph can hold it."""
    heads = model.inst_interactive_predictor.model
    count = len(clicks.points)
    sparse, dense = heads.sam_prompt_encoder(
        points=(clicks.points, clicks.labels), boxes=None, masks=clicks.previous
    )
    fine, middle, coarse = (level.expand(count, -1, -1, -1) for level in pvs)
    logits, quality, _, _ = heads.sam_mask_decoder(
        image_embeddings=coarse,
        image_pe=dense_position(model) if position is None else position,
        sparse_prompt_embeddings=sparse,
        dense_prompt_embeddings=dense,
        multimask_output=multimask,
        repeat_image=False,
        high_res_features=[fine, middle],
    )
    return Proposals(logits, quality)


def dense_position(model: Sam3Image) -> torch.Tensor:
    """The position encoding of all cells, [1, d, g, g]."""
    return model.inst_interactive_predictor.model.sam_prompt_encoder.get_dense_pe()


def group_prompts(prompts: Sequence[VisualPrompt]) -> list[list[int]]:
    """Indices of the prompts that can share a batch: equal numbers of points, and all or none with logits to refine."""
    groups: dict[tuple[int, bool, bool], list[int]] = defaultdict(list)
    for index, prompt in enumerate(prompts):
        groups[len(prompt.points), prompt.box is not None, prompt.previous_logits is not None].append(index)
    return list(groups.values())


def clicks(
    prompts: Sequence[VisualPrompt], sizes: Sequence[ImageSize], image_size: int, device: torch.device
) -> Clicks:
    """Tensors of one group of `group_prompts`; pixels of the original become the model's pixels."""
    points, labels = [], []
    for prompt, size in zip(prompts, sizes, strict=True):
        corners = np.array(prompt.box, dtype=np.float64).reshape(2, 2) if prompt.box else np.empty((0, 2))
        places = np.array([(point.x, point.y) for point in prompt.points], dtype=np.float64).reshape(-1, 2)
        row = normalised(np.concatenate([corners, places]), size) * image_size
        row_labels = [TOP_LEFT, BOTTOM_RIGHT][: len(corners)] + [
            int(point.positive) for point in prompt.points
        ]
        if not row_labels:
            row, row_labels = np.zeros((1, 2)), [PADDING]
        points.append(row)
        labels.append(row_labels)
    previous = [prompt.previous_logits for prompt in prompts if prompt.previous_logits is not None]
    logits = torch.from_numpy(np.stack(previous)).float().unsqueeze(1) if previous else None
    return Clicks(
        points=upload(torch.from_numpy(np.stack(points).astype(np.float32)), device),
        labels=upload(torch.tensor(labels, dtype=torch.int32), device),
        previous=None if logits is None else upload(logits, device),
    )
