"""The losses of one training step."""

import random

import torch
from sam3.model.sam3_image import Sam3Image

from sam3_engine.concept import TextFeatures, encode_text, ground, mask_logits
from sam3_engine.features import (
    ImageFeatures,
    Pyramid,
    coarse_features,
    concept_pyramid,
    encode_images,
    normalise,
)
from sam3_engine.fusion import fuse_images
from sam3_engine.visual import Clicks, Proposals, propose
from training.batches import NO_TARGET, Asked, Batch, Clicked, Scenes
from training.concepts import ALL_CONCEPTS
from training.dense import DenseHead, aligned_loss, dense_loss, meant_loss, phrase_loss
from training.losses import grounding_losses, mask_iou, mask_losses, match

WEIGHTS = {
    "class": 4.0,
    "l1": 5.0,
    "giou": 2.0,
    "presence": 2.0,
    "masks": 4.0,
    "clicks": 4.0,
    "quality": 4.0,
    "dense": 2.0,
    "tracked": 1.0,
    "phrases": 2.0,
    "aligned": 2.0,
    "meant": 4.0,
}
LOGIT_LIMIT = 32.0


def dense_step(model: Sam3Image, head: DenseHead, batch: Batch) -> dict[str, torch.Tensor]:
    """Losses of the warm-up: image and text features learn shapes, colours and words, on many scenes at low cost."""
    neck = model.backbone.vision_backbone
    trunk = neck.trunk(normalise(batch.scenes.pictures))[-1]
    words = encode_text(model, batch.asked.phrases)
    return {
        "dense": dense_loss(head.trunk, trunk, batch.scenes),
        "tracked": dense_loss(head.tracked, coarse_features(model, trunk), batch.scenes),
        "phrases": _spoken(head, words, neck.convs[2](trunk), batch),
    }


def full_step(
    model: Sam3Image, head: DenseHead, batch: Batch, masked_prompts: int, rng: random.Random
) -> dict[str, torch.Tensor]:
    """All tasks on one batch. masked_prompts: of how many concept prompts masks are predicted."""
    features = encode_images(model, normalise(batch.scenes.pictures))
    losses = {
        "dense": dense_loss(head.trunk, features.trunk, batch.scenes),
        # Clicks alone need no colours; an object that crosses another one is known by its own.
        "tracked": dense_loss(head.tracked, features.pvs[2], batch.scenes),
    }
    losses |= click_losses(model, features.pvs, batch, rng)
    losses |= concept_losses(model, head, features, batch, masked_prompts, rng)
    return losses


def click_step(model: Sam3Image, batch: Batch, rng: random.Random) -> dict[str, torch.Tensor]:
    """Clicks and boxes alone, over features that stay as they are."""
    with torch.no_grad():
        features = encode_images(model, normalise(batch.scenes.pictures))
    return click_losses(model, features.pvs, batch, rng)


def concept_losses(
    model: Sam3Image,
    head: DenseHead,
    features: ImageFeatures,
    batch: Batch,
    masked_prompts: int,
    rng: random.Random,
) -> dict[str, torch.Tensor]:
    asked = batch.asked
    pyramid = concept_pyramid(model, features.trunk)
    words = encode_text(model, asked.phrases)
    images = fuse_images(model, pyramid[2]).of(asked.images)
    found = ground(model, images, words.of(asked.text_ids), asked.exemplars, every_layer=True)
    together = _together(batch.scenes, asked)
    losses = {
        "phrases": _spoken(head, words, pyramid[2], batch),
        "aligned": aligned_loss(head, found, pyramid[2][asked.images], together),
        "meant": meant_loss(head, found.hidden, together),
    }
    matches = match(found, asked.boxes, asked.counts)
    losses |= grounding_losses(found, asked.boxes, asked.counts, matches)
    prompts, queries, targets = matches.prompts[-1], matches.queries[-1], matches.targets[-1]
    present = [index for index, count in enumerate(asked.counts) if count]
    masked = sorted(rng.sample(present, min(masked_prompts, len(present))))
    keep = torch.isin(prompts, torch.tensor(masked, device=prompts.device))
    prompts, queries, targets = prompts[keep], queries[keep], targets[keep]
    wanted = batch.scenes.coverage[asked.images[prompts], asked.objects[prompts, targets]].float() / 255
    logits = mask_logits(model, pyramid, asked.images, found, prompts, queries)
    return losses | {"masks": mask_losses(logits, wanted).mean()}


def _spoken(head: DenseHead, words: TextFeatures, patches: torch.Tensor, batch: Batch) -> torch.Tensor:
    """`phrase_loss` of the phrases that follow the prompts' own."""
    first = len(batch.asked.phrases) - len(ALL_CONCEPTS) - 2
    return phrase_loss(head, words.tokens[:, first:], words.padding[first:], patches, batch.scenes)


def _together(scenes: Scenes, asked: Asked) -> torch.Tensor:
    """Coverage of each prompt's targets together, float [P, 4g, 4g]."""
    prompts = torch.zeros(len(asked.objects), scenes.coverage.shape[1] + 1, device=asked.objects.device)
    # The column after the last object takes the padding.
    objects = torch.where(asked.objects == NO_TARGET, scenes.coverage.shape[1], asked.objects)
    prompts.scatter_(1, objects, 1.0)
    return torch.einsum("pn,pnhw->phw", prompts[:, :-1], scenes.coverage[asked.images].float() / 255)


def click_losses(model: Sam3Image, pvs: Pyramid, batch: Batch, rng: random.Random) -> dict[str, torch.Tensor]:
    """Losses of one click, a box and several clicks, and of one of these refined by a correction and its own logits."""
    wanted = [_wanted(batch.scenes, group) for group in batch.clicked]
    answers = [
        propose(model, _of(pvs, group.images), group.clicks, multimask=rng.random() < 0.7)
        for group in batch.clicked
    ]
    which = rng.randrange(len(answers))
    side = batch.scenes.pictures.shape[1]
    again = _refined(batch.clicked[which].clicks, answers[which], wanted[which], side, rng)
    images = batch.clicked[which].images
    answers.append(propose(model, _of(pvs, images), again, multimask=rng.random() < 0.4))
    wanted.append(wanted[which])

    total, quality = [], []
    for truth, answer in zip(wanted, answers, strict=True):
        proposals = answer.logits.shape[1]
        logits = answer.logits.flatten(0, 1)
        truth = truth.repeat_interleave(proposals, dim=0)
        total.append(mask_losses(logits, truth).mean())
        iou = mask_iou(logits.detach(), truth).view_as(answer.quality)
        quality.append((answer.quality - iou).square().mean())
    return {"clicks": torch.stack(total).mean(), "quality": torch.stack(quality).mean()}


def _of(pvs: Pyramid, images: torch.Tensor) -> Pyramid:
    """One row per prompt."""
    fine, middle, coarse = pvs
    return fine[images], middle[images], coarse[images]


def _wanted(scenes: Scenes, group: Clicked) -> torch.Tensor:
    """Coverage of the meant objects, float [K, 4g, 4g]."""
    return scenes.coverage[group.images, group.objects].float() / 255


def _refined(asked: Clicks, answer: Proposals, wanted: torch.Tensor, side: int, rng: random.Random) -> Clicks:
    """The same prompts with the logits of one proposal and a click on a random wrong cell of it.

    side: of the model's square, in pixels.
    """
    previous = answer.logits.detach()[:, rng.randrange(answer.logits.shape[1])]
    previous = previous.clamp(-LOGIT_LIMIT, LOGIT_LIMIT)
    truth = wanted > 0.5
    wrong = ((previous > 0) != truth).flatten(1)
    # Where nothing is wrong the click confirms the object; where nothing at all is left, it is anywhere.
    weights = torch.where(wrong.any(1, keepdim=True), wrong, truth.flatten(1)).float() + 1e-6
    cell = torch.multinomial(weights, 1)
    cells = truth.shape[-1]
    corner = torch.cat([cell % cells, cell // cells], dim=1)
    points = ((corner + torch.rand(corner.shape, device=corner.device)) * (side / cells))[:, None]
    labels = truth.flatten(1).gather(1, cell).to(asked.labels.dtype)
    return Clicks(
        torch.cat([asked.points, points], dim=1), torch.cat([asked.labels, labels], dim=1), previous[:, None]
    )
