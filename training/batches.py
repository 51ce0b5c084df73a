"""Training batches as tensors. Everything that needs no model is computed here, so that other processes can do it."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, TypeVar

import numpy as np
import torch

from sam3_engine.concept import Exemplars, exemplars
from sam3_engine.spec import ModelSpec
from sam3_engine.types import ImageSize, VisualPrompt
from sam3_engine.visual import Clicks, clicks
from training.concepts import ALL_CONCEPTS, COLOURS, OTHER_WORDS, SHAPES, VISUAL, phrase
from training.labelled import Labelled
from training.samples import ConceptSample, box_prompt, concept_samples, one_click, several_clicks

CELLS = 4
"""Cells per side of a patch, so that the grid equals that of the mask logits."""
NO_TARGET = -1
CPU = torch.device("cpu")
Moved = TypeVar("Moved")


@dataclass(frozen=True, slots=True)
class StepSize:
    """Numbers of images and prompts in one step of one process."""

    scenes: int = 4
    concepts_per_scene: int = 4
    masked_prompts: int = 12
    objects_per_scene: int = 4
    click_kinds: int = 3
    """How many of one click, a box, and several clicks. Each costs a pass of the click decoder."""


@dataclass(frozen=True, slots=True)
class Scenes:
    """B images of at most N objects. g is the trunk's grid.

    pictures: uint8 [B, S, S, 3]. coverage: uint8 [B, N, 4g, 4g], 255 where an object covers a whole cell.
    shapes: long [B, 4g, 4g], 0 for the ground. colours: long [B, 4g, 4g], -1 where there is none.
    sides: float [B, 4, g, g], from each patch to its object's left, top, right and bottom; inside: bool [B, g, g].
    meant: bool [B, N, C], whether each of ALL_CONCEPTS names each object.
    """

    pictures: torch.Tensor
    coverage: torch.Tensor
    shapes: torch.Tensor
    colours: torch.Tensor
    sides: torch.Tensor
    inside: torch.Tensor
    meant: torch.Tensor


@dataclass(frozen=True, slots=True)
class Asked:
    """P concept prompts with at most T targets each.

    images, text_ids: long [P]. phrases: the texts of text_ids, then one for each of ALL_CONCEPTS, then others.
    boxes: float [P, T, 4] of the targets, normalised (x0, y0, x1, y1). objects: long [P, T], their numbers in the
    image, -1 for none. counts: the number of targets of each prompt.
    """

    images: torch.Tensor
    text_ids: torch.Tensor
    phrases: list[str]
    exemplars: Exemplars
    boxes: torch.Tensor
    objects: torch.Tensor
    counts: list[int]


@dataclass(frozen=True, slots=True)
class Clicked:
    """K prompts of one kind. images, objects: long [K], what each prompt means."""

    clicks: Clicks
    images: torch.Tensor
    objects: torch.Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """Scenes with prompts on them. clicked: some of one click, a box, and several clicks."""

    scenes: Scenes
    asked: Asked
    clicked: list[Clicked]


def draw_batch(spec: ModelSpec, scenes: Sequence[Labelled], size: StepSize, rng: random.Random) -> Batch:
    return Batch(_scenes(spec, scenes), _asked(scenes, size, rng), _clicked(spec, scenes, size, rng))


def moved(value: Moved, device: torch.device) -> Moved:
    """The same batch, or any part of it, on a device."""
    return _moved(value, device)


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, list):
        return [_moved(part, device) for part in value]
    if is_dataclass(value) and not isinstance(value, type):
        return type(value)(*(_moved(getattr(value, field.name), device) for field in fields(value)))
    return value


def _scenes(spec: ModelSpec, scenes: Sequence[Labelled]) -> Scenes:
    grid, cells = spec.grid, spec.grid * CELLS
    many = max(len(scene.shapes) for scene in scenes)
    coverage = np.zeros((len(scenes), many, cells, cells), np.uint8)
    shapes = np.zeros((len(scenes), cells, cells), np.int64)
    colours = np.full_like(shapes, -1)
    sides = np.zeros((len(scenes), 4, grid, grid), np.float32)
    inside = np.zeros((len(scenes), grid, grid), bool)
    meant = np.zeros((len(scenes), many, len(ALL_CONCEPTS)), bool)
    places = (np.arange(grid) + 0.5) / grid
    for row, scene in enumerate(scenes):
        for index, kind in enumerate(scene.shapes):
            cover = scene.coverage(index, cells)
            coverage[row, index] = np.round(cover * 255)
            own = cover > 0.5
            shapes[row][own] = SHAPES.index(kind.shape) + 1
            colours[row][own] = COLOURS.index(kind.colour) if kind.colour in COLOURS else -1
            patches = own.reshape(grid, CELLS, grid, CELLS).mean((1, 3)) > 0.4
            x0, y0, x1, y1 = _normalised(scene, index)
            to_x, to_y = np.broadcast_arrays(places[None, :], places[:, None])
            extent = np.stack([to_x - x0, to_y - y0, x1 - to_x, y1 - to_y])
            sides[row][:, patches] = extent[:, patches]
            inside[row] |= patches
            meant[row, index] = [concept.matches(kind.colour, kind.shape) for concept in ALL_CONCEPTS]
    square = ImageSize(spec.image_size, spec.image_size)
    pictures = np.stack([scene.picture(square) for scene in scenes])
    arrays = (pictures, coverage, shapes, colours, sides, inside, meant)
    return Scenes(*(torch.from_numpy(array) for array in arrays))


def _asked(scenes: Sequence[Labelled], size: StepSize, rng: random.Random) -> Asked:
    samples: list[ConceptSample] = []
    owners: list[int] = []
    for row, scene in enumerate(scenes):
        samples += concept_samples(scene, rng, size.concepts_per_scene)
        owners += [row] * size.concepts_per_scene
    texts = sorted({sample.prompt.text or VISUAL for sample in samples})
    most = max(1, *(len(sample.targets) for sample in samples))
    boxes = torch.zeros(len(samples), most, 4)
    objects = torch.full((len(samples), most), NO_TARGET)
    for row, (sample, owner) in enumerate(zip(samples, owners, strict=True)):
        for column, index in enumerate(sample.targets):
            boxes[row, column] = torch.tensor(_normalised(scenes[owner], index))
            objects[row, column] = index
    return Asked(
        images=torch.tensor(owners),
        text_ids=torch.tensor([texts.index(sample.prompt.text or VISUAL) for sample in samples]),
        phrases=[*texts, *(phrase(concept, rng) for concept in ALL_CONCEPTS), *rng.sample(OTHER_WORDS, 2)],
        exemplars=exemplars([s.prompt for s in samples], [scenes[o].size for o in owners], CPU),
        boxes=boxes,
        objects=objects,
        counts=[len(sample.targets) for sample in samples],
    )


def _normalised(scene: Labelled, index: int) -> list[float]:
    x0, y0, x1, y1 = scene.shapes[index].box
    return [x0 / scene.size.width, y0 / scene.size.height, x1 / scene.size.width, y1 / scene.size.height]


def _clicked(
    spec: ModelSpec, scenes: Sequence[Labelled], size: StepSize, rng: random.Random
) -> list[Clicked]:
    # Prompts of one group have equal numbers of points.
    positives, negatives = rng.randint(1, 3), rng.randint(0, 2)

    def several(scene: Labelled, index: int, rng: random.Random) -> VisualPrompt:
        return several_clicks(scene, index, positives, negatives, rng)

    groups = []
    for maker in rng.sample((one_click, box_prompt, several), size.click_kinds):
        meant = [
            (row, index)
            for row, scene in enumerate(scenes)
            for index in rng.sample(range(len(scene.shapes)), min(size.objects_per_scene, len(scene.shapes)))
        ]
        prompts = [maker(scenes[row], index, rng) for row, index in meant]
        tensors = clicks(prompts, [scenes[row].size for row, _ in meant], spec.image_size, CPU)
        images, objects = torch.tensor(meant).T
        groups.append(Clicked(tensors, images.contiguous(), objects.contiguous()))
    return groups
