"""The trunk in bfloat16 on 200 drawn scenes: it finds what the package's finds under autocast, and nearly what both
find in float32."""

import random
from collections import defaultdict
from collections.abc import Callable

import numpy as np
import pytest
import torch

from sam3_engine.engine import ConceptDetections, ConceptItem, Engine, VisualItem, VisualMask
from sam3_engine.features import Features, encode_images, normalise
from sam3_engine.spec import TINY
from sam3_engine.trunk.vit import Trunk
from sam3_engine.types import ConceptPrompt, ImageSize, Point, VisualPrompt
from training.concepts import ALL_CONCEPTS
from training.evaluate import HELD_OUT, iou
from training.samples import matching
from training.scenes import draw_scene, render

SCENES = 200
SIZE = ImageSize(TINY.image_size, TINY.image_size)
SURE = 0.5
"""Score from which an instance is an answer; masks below it are not compared."""

Run = Callable[[torch.Tensor], list[torch.Tensor]]
Answers = tuple[list[ConceptDetections], VisualMask]


class Differences:
    """Absolute differences of scores and overlaps of masks, of concepts and of clicks."""

    def __init__(self) -> None:
        self.scores: dict[str, list[float]] = defaultdict(list)
        self.ious: dict[str, list[float]] = defaultdict(list)

    def add(self, wanted: Answers, found: Answers) -> None:
        for one, other in zip(wanted[0], found[0], strict=True):
            self.scores["concept"] += list(np.abs(one.scores - other.scores))
            masks = (other.mask_logits > 0).numpy()
            for mask in (one.mask_logits[one.scores >= SURE] > 0).numpy():
                self.ious["concept"].append(max(iou(mask, candidate) for candidate in masks))
        self.scores["click"].append(abs(wanted[1].score - found[1].score))
        self.ious["click"].append(iou(wanted[1].low_res_logits > 0, found[1].low_res_logits > 0))


@pytest.fixture(scope="module")
def differences() -> dict[str, Differences]:
    """Of bfloat16, from the package's bfloat16 and from float32."""
    engine = Engine.load("tiny", device="cpu", dtype="float32")
    theirs = engine.model.backbone.vision_backbone.trunk
    assert engine.trunk is not None
    ours = Trunk.of(TINY, theirs.state_dict(), torch.bfloat16)

    def package(pixels: torch.Tensor) -> list[torch.Tensor]:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return [theirs(pixels)[-1].float()]

    found = {"package": Differences(), "float32": Differences()}
    for seed in range(HELD_OUT, HELD_OUT + SCENES):
        half, other, exact = _answers(engine, [ours, package, engine.trunk], seed)
        found["package"].add(other, half)
        found["float32"].add(exact, half)
    return found


def _answers(engine: Engine, trunks: list[Run], seed: int) -> list[Answers]:
    """With each trunk: all candidates for two concepts of one scene, and the mask of one click."""
    rng, scene = random.Random(seed), draw_scene(seed, SIZE)
    present = [str(concept) for concept in ALL_CONCEPTS if matching(scene, concept)]
    prompts = [ConceptPrompt(text, score_threshold=0.0) for text in rng.sample(present, 2)]
    click = VisualPrompt((Point(rng.uniform(0, SIZE.width), rng.uniform(0, SIZE.height)),))
    answers = []
    for trunk in trunks:
        with torch.inference_mode():
            pixels = normalise(torch.from_numpy(render(scene))[None])
            features = Features(encode_images(engine.model, pixels, trunk))
        concepts = engine.segment_concepts([ConceptItem(features, SIZE, prompts)])[0]
        answers.append((concepts, engine.segment_visual([VisualItem(features, SIZE, [click])])[0][0]))
    return answers


@pytest.mark.parametrize("kind", ["concept", "click"])
def test_it_answers_as_the_packages_trunk_in_bfloat16(differences: dict[str, Differences], kind: str) -> None:
    found = differences["package"]
    assert len(found.scores[kind]) >= SCENES
    assert max(found.scores[kind]) <= 0.01
    assert np.mean(found.ious[kind]) >= 0.99


@pytest.mark.parametrize("kind", ["concept", "click"])
def test_it_answers_nearly_as_in_float32(differences: dict[str, Differences], kind: str) -> None:
    """A few undecided candidates move further, by the same in the package."""
    found = differences["float32"]
    assert len(found.ious[kind]) >= SCENES
    assert np.quantile(found.scores[kind], 0.99) <= 0.01
    assert np.mean(found.ious[kind]) >= 0.99
