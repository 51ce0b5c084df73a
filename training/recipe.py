"""The losses of one training step."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sam3.model.sam3_image import Sam3Image

from sam3_engine.concept import encode_text, exemplars, ground, mask_logits
from sam3_engine.features import ImageFeatures, Pyramid, concept_pyramid, encode_images, normalise
from sam3_engine.fusion import fuse_images
from sam3_engine.spec import ModelSpec
from sam3_engine.types import ImageSize, VisualPrompt
from sam3_engine.visual import Proposals, clicks, propose
from training.concepts import ALL_CONCEPTS, OTHER_WORDS, VISUAL, phrase
from training.dense import DenseHead, aligned_loss, dense_loss, meant_loss, phrase_loss
from training.losses import grounding_losses, mask_iou, mask_losses
from training.samples import (
    ConceptSample,
    box_prompt,
    concept_samples,
    correction,
    one_click,
    several_clicks,
)
from training.scenes import Scene, draw_scene, render

WEIGHTS = {
    "class": 4.0,
    "l1": 5.0,
    "giou": 2.0,
    "presence": 2.0,
    "masks": 4.0,
    "clicks": 4.0,
    "quality": 4.0,
    "dense": 1.0,
    "phrases": 2.0,
    "aligned": 2.0,
    "meant": 4.0,
}
CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True)
class Batch:
    """Scenes with their pictures, uint8 [B, S, S, 3], and per scene the coverage of its shapes, float [N, 4g, 4g]."""

    scenes: Sequence[Scene]
    pictures: torch.Tensor
    coverage: Sequence[np.ndarray]


@dataclass(frozen=True, slots=True)
class StepSize:
    """Numbers of prompts and images in one step."""

    scenes: int = 4
    concepts_per_scene: int = 4
    masked_prompts: int = 6
    objects_per_scene: int = 2


def draw_batch(spec: ModelSpec, seeds: Sequence[int]) -> Batch:
    square = ImageSize(spec.image_size, spec.image_size)
    scenes = [draw_scene(seed) for seed in seeds]
    pictures = torch.from_numpy(np.stack([render(scene, square) for scene in scenes]))
    coverage = [
        np.stack([scene.coverage(i, spec.mask_size) for i in range(len(scene.shapes))]) for scene in scenes
    ]
    return Batch(scenes, pictures, coverage)


def dense_step(
    model: Sam3Image, head: DenseHead, batch: Batch, rng: random.Random
) -> dict[str, torch.Tensor]:
    """Losses of the warm-up: image and text features learn shapes, colours and words, on many scenes at low cost."""
    neck = model.backbone.vision_backbone
    trunk = neck.trunk(normalise(batch.pictures))[-1]
    coarse = neck.convs[2](trunk)
    return {
        "dense": dense_loss(head, trunk, batch.scenes, batch.coverage),
        "phrases": phrase_loss(
            head, encode_text(model, _all_phrases(rng)), coarse, batch.scenes, batch.coverage
        ),
    }


def _all_phrases(rng: random.Random) -> list[str]:
    return [phrase(concept, rng) for concept in ALL_CONCEPTS] + rng.sample(OTHER_WORDS, 2)


def full_step(
    spec: ModelSpec, model: Sam3Image, head: DenseHead, batch: Batch, size: StepSize, rng: random.Random
) -> dict[str, torch.Tensor]:
    """All tasks on one batch."""
    features = encode_images(model, normalise(batch.pictures))
    losses = {"dense": dense_loss(head, features.trunk, batch.scenes, batch.coverage)}
    losses |= concept_losses(model, head, features, batch, size, rng)
    losses |= click_losses(spec, model, features.pvs, batch, size, rng)
    return losses


def concept_losses(
    model: Sam3Image,
    head: DenseHead,
    features: ImageFeatures,
    batch: Batch,
    size: StepSize,
    rng: random.Random,
) -> dict[str, torch.Tensor]:
    samples: list[ConceptSample] = []
    owners: list[int] = []
    for index, scene in enumerate(batch.scenes):
        samples += concept_samples(scene, rng, size.concepts_per_scene)
        owners += [index] * size.concepts_per_scene
    targets = [
        torch.tensor([_normalised(batch.scenes[o], t) for t in sample.targets]).view(-1, 4)
        for sample, o in zip(samples, owners, strict=True)
    ]
    phrases = sorted({sample.prompt.text or VISUAL for sample in samples})
    text_ids = torch.tensor([phrases.index(sample.prompt.text or VISUAL) for sample in samples])
    image_ids = torch.tensor(owners)
    pyramid = concept_pyramid(model, features.trunk)
    everyone = encode_text(model, _all_phrases(rng))
    spoken = phrase_loss(head, everyone, pyramid[2], batch.scenes, batch.coverage)
    boxes = exemplars([s.prompt for s in samples], [batch.scenes[o].size for o in owners], CPU)
    images = fuse_images(model, pyramid[2]).of(image_ids)
    found = ground(model, images, encode_text(model, phrases).of(text_ids), boxes, every_layer=True)
    losses, (prompts, queries, objects) = grounding_losses(found, targets)
    everything = torch.from_numpy(
        np.stack(
            [batch.coverage[o][list(s.targets)].sum(0) for s, o in zip(samples, owners, strict=True)]
        ).astype(np.float32)
    )
    losses["phrases"] = spoken
    losses["aligned"] = aligned_loss(head, found, pyramid[2][image_ids], everything)
    losses["meant"] = meant_loss(head, found.hidden, everything)

    masked = rng.sample(sorted(set(prompts.tolist())), min(size.masked_prompts, len(set(prompts.tolist()))))
    keep = torch.isin(prompts, torch.tensor(masked))
    prompts, queries, objects = prompts[keep], queries[keep], objects[keep]
    wanted = np.stack(
        [
            batch.coverage[owners[p]][samples[p].targets[o]]
            for p, o in zip(prompts.tolist(), objects.tolist(), strict=True)
        ]
    )
    logits = mask_logits(model, pyramid, image_ids, found, prompts, queries)
    return losses | {"masks": mask_losses(logits, torch.from_numpy(wanted)).mean()}


def _normalised(scene: Scene, index: int) -> list[float]:
    x0, y0, x1, y1 = scene.shapes[index].box
    return [x0 / scene.size.width, y0 / scene.size.height, x1 / scene.size.width, y1 / scene.size.height]


@dataclass(frozen=True, slots=True)
class _Clicked:
    prompts: list[VisualPrompt]
    owners: list[int]
    wanted: torch.Tensor


def click_losses(
    spec: ModelSpec, model: Sam3Image, pvs: Pyramid, batch: Batch, size: StepSize, rng: random.Random
) -> dict[str, torch.Tensor]:
    """Losses of one click, a box and several clicks, and of one of these refined by a correction and its own logits."""
    positives, negatives = rng.randint(1, 3), rng.randint(0, 2)
    makers = [one_click, box_prompt, lambda s, i, r: several_clicks(s, i, positives, negatives, r)]
    clicked, answers = [], []
    for maker in makers:
        prompts, owners, wanted = [], [], []
        for owner, scene in enumerate(batch.scenes):
            for index in rng.sample(range(len(scene.shapes)), min(size.objects_per_scene, len(scene.shapes))):
                prompts.append(maker(scene, index, rng))
                owners.append(owner)
                wanted.append(batch.coverage[owner][index])
        clicked.append(_Clicked(prompts, owners, torch.from_numpy(np.stack(wanted))))
        answers.append(_propose(spec, model, pvs, batch, clicked[-1], multimask=rng.random() < 0.7))
    which = rng.randrange(len(clicked))
    refined = _refined(clicked[which], answers[which], batch, rng)
    clicked.append(refined)
    answers.append(_propose(spec, model, pvs, batch, refined, multimask=rng.random() < 0.4))

    total, quality = torch.zeros(()), torch.zeros(())
    for asked, answer in zip(clicked, answers, strict=True):
        proposals = answer.logits.shape[1]
        logits = answer.logits.flatten(0, 1)
        truth = asked.wanted.repeat_interleave(proposals, dim=0)
        total = total + mask_losses(logits, truth).mean()
        iou = mask_iou(logits.detach(), truth).view_as(answer.quality)
        quality = quality + (answer.quality - iou).square().mean()
    return {"clicks": total / len(clicked), "quality": quality / len(clicked)}


def _propose(
    spec: ModelSpec, model: Sam3Image, pvs: Pyramid, batch: Batch, asked: _Clicked, *, multimask: bool
) -> Proposals:
    sizes = [batch.scenes[owner].size for owner in asked.owners]
    tensors = clicks(asked.prompts, sizes, spec.image_size, CPU)
    fine, middle, coarse = (level[asked.owners] for level in pvs)
    return propose(model, (fine, middle, coarse), tensors, multimask=multimask)


def _refined(asked: _Clicked, answer: Proposals, batch: Batch, rng: random.Random) -> _Clicked:
    logits = answer.logits.detach()[:, rng.randrange(answer.logits.shape[1])].clamp(-32, 32)
    prompts = []
    for prompt, owner, previous, wanted in zip(
        asked.prompts, asked.owners, logits, asked.wanted, strict=True
    ):
        target = wanted.numpy() > 0.5
        wrong = (previous.numpy() > 0) != target
        point = correction(batch.scenes[owner], wrong if wrong.any() else target, target, rng)
        points = (*prompt.points, point) if point else prompt.points
        prompts.append(VisualPrompt(points, prompt.box, previous.numpy()))
    return _Clicked(prompts, asked.owners, asked.wanted)
