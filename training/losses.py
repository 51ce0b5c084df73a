"""Losses of a set-prediction detector with masks, and of a promptable mask decoder."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment

from sam3_engine.concept import Grounding


@dataclass(frozen=True, slots=True)
class Matches:
    """M matched queries in each of D layers: long [D, M], ordered by prompt. targets: rows of the prompt's targets."""

    prompts: torch.Tensor
    queries: torch.Tensor
    targets: torch.Tensor


def match(found: Grounding, boxes: torch.Tensor, counts: Sequence[int]) -> Matches:
    """Hungarian matching of queries to boxes (DETR), per layer and prompt.

    boxes: [P, T, 4] normalised (x0, y0, x1, y1), of which the first `counts[p]` are the targets of prompt p.
    """
    with torch.no_grad():
        probability = found.logits.sigmoid().unsqueeze(-1)
        predicted, wanted = found.boxes.unsqueeze(3), boxes[None, :, None]
        apart = (predicted - wanted).abs().sum(-1)
        cost = -2.0 * probability + 5.0 * apart - 2.0 * box_overlaps(predicted, wanted)[1]
    costs = cost.float().cpu().numpy()
    prompts: list[list[int]] = []
    queries: list[list[int]] = []
    targets: list[list[int]] = []
    for layer in costs:
        prompts.append([])
        queries.append([])
        targets.append([])
        for index, count in enumerate(counts):
            if count:
                rows, columns = linear_sum_assignment(layer[index, :, :count])
                prompts[-1] += [index] * len(rows)
                queries[-1] += rows.tolist()
                targets[-1] += columns.tolist()
    as_long = [torch.tensor(values, device=boxes.device) for values in (prompts, queries, targets)]
    return Matches(*as_long)


def grounding_losses(
    found: Grounding, boxes: torch.Tensor, counts: Sequence[int], matches: Matches
) -> dict[str, torch.Tensor]:
    """Class, box and presence losses, averaged over the decoder's layers."""
    layers, matched = matches.prompts.shape
    present = torch.tensor([count > 0 for count in counts], device=boxes.device)
    layer = torch.arange(layers, device=boxes.device)[:, None].expand(-1, matched)
    at = (layer, matches.prompts, matches.queries)
    predicted, wanted = found.boxes[at], boxes[matches.prompts, matches.targets]
    iou, generalised = box_overlaps(predicted, wanted)
    quality = iou.detach().clamp(min=0.3) ** 0.5
    total = max(1, layers * matched)
    return {
        "class": varifocal(found.logits, present, at, quality) / total,
        "l1": (predicted - wanted).abs().sum() / total,
        "giou": (1 - generalised).sum() / total,
        "presence": F.binary_cross_entropy_with_logits(
            found.presence, present.float().expand_as(found.presence)
        ),
    }


def box_overlaps(one: torch.Tensor, other: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """IoU and generalised IoU (Rezatofighi et al. 2019), pair by pair: boxes [..., 4], which broadcast, to [...]."""
    common = _area(torch.maximum(one[..., :2], other[..., :2]), torch.minimum(one[..., 2:], other[..., 2:]))
    hull = _area(torch.minimum(one[..., :2], other[..., :2]), torch.maximum(one[..., 2:], other[..., 2:]))
    union = _area(one[..., :2], one[..., 2:]) + _area(other[..., :2], other[..., 2:]) - common
    iou = common / union.clamp(min=1e-7)
    return iou, iou - (hull - union) / hull.clamp(min=1e-7)


def _area(low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    width, height = (high - low).clamp(min=0).unbind(-1)
    return width * height


def varifocal(
    logits: torch.Tensor,
    present: torch.Tensor,
    at: tuple[torch.Tensor, torch.Tensor, torch.Tensor],
    quality: torch.Tensor,
) -> torch.Tensor:
    """Varifocal loss (Zhang et al. 2021) on the prompts whose concept is present. A matched query's target is the
    quality of its box, so that scores are calibrated. The other queries are weighted by their own score, not by its
    square as in the paper: then a score of 0.5, where answers begin, is that of a query that is right in four of ten
    cases. With the square it is one in four.

    logits: [D, P, Q]; present: bool [P]; at: indices of the matched queries, with their quality.
    """
    target = torch.zeros_like(logits)
    target[at] = quality
    weight = torch.where(target > 0, target, logits.detach().sigmoid())
    loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none") * weight
    return (loss * present[:, None]).sum()


def mask_losses(logits: torch.Tensor, coverage: torch.Tensor) -> torch.Tensor:
    """Dice plus balanced cross-entropy per mask, [N]; logits and coverage (targets in [0, 1]) are [N, h, w]."""
    logits, coverage = logits.flatten(1), coverage.flatten(1)
    probability = logits.sigmoid()
    overlap = (probability * coverage).sum(1)
    dice = 1 - (2 * overlap + 1) / (probability.sum(1) + coverage.sum(1) + 1)
    entropy = F.binary_cross_entropy_with_logits(logits, coverage, reduction="none")
    # The object's surroundings get half of the weight, so that the background does not outweigh a small object.
    inside = coverage.sum(1).clamp(min=1)
    weight = 1 + coverage * (coverage[0].numel() / inside / 4)[:, None].clamp(max=20)
    return dice + 2 * (entropy * weight).sum(1) / weight.sum(1)


def mask_iou(logits: torch.Tensor, coverage: torch.Tensor) -> torch.Tensor:
    """IoU of thresholded masks, [...]; both [..., h, w]."""
    got, wanted = logits > 0, coverage > 0.5
    union = (got | wanted).flatten(-2).sum(-1)
    return (got & wanted).flatten(-2).sum(-1) / union.clamp(min=1)
