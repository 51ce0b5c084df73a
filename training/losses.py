"""Losses of a set-prediction detector with masks, and of a promptable mask decoder."""

import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torchvision.ops import box_iou, generalized_box_iou, generalized_box_iou_loss

from sam3_engine.concept import Grounding


def match(
    found: Grounding, layer: int, targets: list[torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Hungarian matching of queries to boxes (DETR), per prompt.

    targets: per prompt the boxes [T, 4], normalised (x0, y0, x1, y1). Returns the prompt, query and target indices of
    all matched pairs, ordered by prompt, long [N] each.
    """
    probability = found.logits[layer].detach().sigmoid()
    boxes = found.boxes[layer].detach()
    prompts, queries, objects = [], [], []
    for index, wanted in enumerate(targets):
        if len(wanted) == 0:
            continue
        cost = (
            -2.0 * probability[index][:, None]
            + 5.0 * torch.cdist(boxes[index], wanted, p=1)
            - 2.0 * generalized_box_iou(boxes[index], wanted)
        )
        rows, columns = linear_sum_assignment(cost.numpy())
        prompts += [index] * len(rows)
        queries += rows.tolist()
        objects += columns.tolist()
    as_long = [torch.tensor(values, dtype=torch.long) for values in (prompts, queries, objects)]
    return as_long[0], as_long[1], as_long[2]


def grounding_losses(
    found: Grounding, targets: list[torch.Tensor]
) -> tuple[dict[str, torch.Tensor], tuple[torch.Tensor, ...]]:
    """Class, box and presence losses, averaged over the decoder's layers, and the last layer's matches."""
    present = torch.tensor([len(wanted) > 0 for wanted in targets])
    layers = found.logits.shape[0]
    total = {name: found.logits.new_zeros(()) for name in ("class", "l1", "giou", "presence")}
    matches: tuple[torch.Tensor, ...] = ()
    for layer in range(layers):
        matches = match(found, layer, targets)
        prompts, queries, objects = matches
        predicted = found.boxes[layer][prompts, queries]
        wanted = torch.stack([targets[p][o] for p, o in zip(prompts.tolist(), objects.tolist(), strict=True)])
        count = len(prompts)
        quality = box_iou(predicted.detach(), wanted).diagonal().clamp(min=0.3) ** 0.5
        total["class"] += varifocal(found.logits[layer], present, prompts, queries, quality) / count
        total["l1"] += (predicted - wanted).abs().sum() / count
        total["giou"] += generalized_box_iou_loss(predicted, wanted, reduction="sum") / count
        total["presence"] += F.binary_cross_entropy_with_logits(found.presence[layer], present.float())
    return {name: value / layers for name, value in total.items()}, matches


def varifocal(
    logits: torch.Tensor,
    present: torch.Tensor,
    prompts: torch.Tensor,
    queries: torch.Tensor,
    quality: torch.Tensor,
) -> torch.Tensor:
    """Varifocal loss (Zhang et al. 2021) on the prompts whose concept is present. A matched query's target is the
    quality of its box, so that scores are calibrated. The other queries are weighted by their own score.
    """
    target = torch.zeros_like(logits)
    target[prompts, queries] = quality
    weight = torch.where(target > 0, target, logits.detach().sigmoid() ** 2)
    loss = F.binary_cross_entropy_with_logits(logits, target, reduction="none") * weight
    return loss[present].sum()


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
