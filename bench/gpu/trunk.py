"""Our image trunk beside the package's: the same features and answers, and what both take."""

import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from bench.gpu.right import Verdict, overlap, relative
from bench.gpu.setting import Setting, square
from bench.gpu.speed import Figure, Roofline, measured
from sam3_engine.engine import ConceptDetections, ConceptItem, Engine, VisualItem, VisualMask
from sam3_engine.features import Features, encode_images, normalise
from sam3_engine.spec import TINY
from sam3_engine.trunk.vit import Trunk
from sam3_engine.types import ConceptPrompt, ImageSize, Point, VisualPrompt
from training.concepts import ALL_CONCEPTS
from training.evaluate import FIRST_SEED
from training.samples import matching
from training.scenes import draw_scene, render

EXACT = 1e-4
"""Largest relative error in float32."""
SCORES, MASKS = 0.01, 0.99
"""Largest difference of scores, and least mean overlap of masks, in bfloat16."""
SURE = 0.5
"""Score from which an instance is an answer; masks below it are not compared."""
SIZE = ImageSize(TINY.image_size, TINY.image_size)

Run = Callable[[torch.Tensor], Sequence[torch.Tensor]]
"""A trunk: pixels to a list whose last element is the features."""
Answers = tuple[list[ConceptDetections], VisualMask]


class Differences:
    """Absolute differences of scores and overlaps of masks, of concepts and of clicks."""

    def __init__(self) -> None:
        self.scores: dict[str, list[float]] = defaultdict(list)
        self.ious: dict[str, list[float]] = defaultdict(list)

    def add(self, wanted: Answers, found: Answers) -> None:
        """Compare the answers to one scene's prompts."""
        for one, other in zip(wanted[0], found[0], strict=True):
            self.scores["concept"] += np.abs(one.scores - other.scores).tolist()
            candidates = other.mask_logits > 0
            for mask in one.mask_logits[: int((one.scores >= SURE).sum())] > 0:
                self.ious["concept"].append(max(overlap(mask, each) for each in candidates))
        self.scores["click"].append(abs(wanted[1].score - found[1].score))
        self.ious["click"].append(overlap(wanted[1].mask_logits > 0, found[1].mask_logits > 0))


class PackagesTrunk:
    """The package's trunk, under bfloat16 autocast where `half`."""

    def __init__(self, engine: Engine, *, half: bool) -> None:
        """engine: in float32."""
        self._trunk = engine.model.backbone.vision_backbone.trunk
        self._device, self._half = engine.device.type, half

    def __call__(self, pixels: torch.Tensor) -> list[torch.Tensor]:
        with torch.autocast(self._device, torch.bfloat16, enabled=self._half):
            return [self._trunk(pixels)[-1].float()]


def in_half_precision(engine: Engine) -> Trunk:
    """Our trunk in bfloat16, with the weights of an engine in float32."""
    state = engine.model.backbone.vision_backbone.trunk.state_dict()
    return Trunk.of(engine.spec, state, torch.bfloat16)


def differences(engine: Engine, scenes: int) -> dict[str, Differences]:
    """Differences of our trunk's answers in bfloat16 from the package's under autocast ("package") and from float32's.

    "rounding": of the package's under autocast from those in float32.
    engine: the bundled model in float32. Drawn scenes that training never uses.
    """
    assert engine.trunk is not None
    trunks: list[Run] = [in_half_precision(engine), PackagesTrunk(engine, half=True), engine.trunk]
    found = {"package": Differences(), "float32": Differences(), "rounding": Differences()}
    for seed in range(FIRST_SEED, FIRST_SEED + scenes):
        ours, packages, exact = answers(engine, trunks, seed)
        found["package"].add(packages, ours)
        found["float32"].add(exact, ours)
        found["rounding"].add(exact, packages)
    return found


def answers(engine: Engine, trunks: Sequence[Run], seed: int) -> list[Answers]:
    """Each trunk's answers: all candidates for two concepts of one scene, and the mask of one click."""
    rng, scene = random.Random(seed), draw_scene(seed, SIZE)
    present = [str(concept) for concept in ALL_CONCEPTS if matching(scene, concept)]
    prompts = [ConceptPrompt(text, score_threshold=0.0) for text in rng.sample(present, 2)]
    click = VisualPrompt((Point(rng.uniform(0, SIZE.width), rng.uniform(0, SIZE.height)),))
    pixels = torch.from_numpy(render(scene))[None].to(engine.device)
    answers = []
    for trunk in trunks:
        with torch.inference_mode():
            features = Features(encode_images(engine.model, normalise(pixels), trunk))
        concepts = engine.segment_concepts([ConceptItem(features, SIZE, prompts)])[0]
        answers.append((concepts, engine.segment_visual([VisualItem(features, SIZE, [click])])[0][0]))
    return answers


def agrees(asked: Setting, scenes: int) -> Iterator[Verdict]:
    """Features of the measured model with random weights, and answers of the bundled one."""
    engine = asked.engine(dtype="float32")
    assert engine.trunk is not None
    pixels = pixels_of(asked, 1)
    with torch.inference_mode():
        wanted = PackagesTrunk(engine, half=False)(pixels)[-1]
        error = relative(engine.trunk(pixels)[-1], wanted)
        half = relative(in_half_precision(engine)(pixels)[-1], wanted)
        packages = relative(PackagesTrunk(engine, half=True)(pixels)[-1], wanted)
    name = f"{engine.spec.name}, random weights: our trunk's relative error"
    yield Verdict(f"{name}, float32", error <= EXACT, f"{error:.1e}")
    shown = f"{half:.1e}; the package's under autocast {packages:.1e}"
    yield Verdict(f"{name}, bfloat16", half <= 1.5 * packages, shown)
    found = differences(asked.engine(TINY, trained=True, dtype="float32"), scenes)
    for kind in ("concept", "click"):
        what = f"our trunk against the package's, bfloat16, {scenes} scenes: {kind}"
        yield replace(as_the_package(found, kind), what=what)


def as_the_package(found: Mapping[str, Differences], kind: str) -> Verdict:
    """Whether our trunk answers as the package's, both in bfloat16. found: of `differences`.

    A candidate that is undecided may move as far as rounding moves one in the package itself.
    """
    scores, rounding = found["package"].scores[kind], max(found["rounding"].scores[kind])
    most, worst = float(np.quantile(scores, 0.99)), max(scores)
    iou = float(np.mean(found["package"].ious[kind]))
    shown = (
        f"99 % of scores differ by at most {most:.4f}, all by {worst:.4f} (the package in bfloat16 from float32: "
        f"{rounding:.4f}); masks' IoU {iou:.4f} in the mean"
    )
    return Verdict(kind, most <= SCORES and worst <= max(SCORES, 2 * rounding) and iou >= MASKS, shown)


def takes(asked: Setting, batches: Sequence[int], roof: Roofline) -> Iterator[Figure]:
    """The trunk alone. The fraction counts the operations of a whole encode: the trunk has 96 % of them at full
    size."""
    engine = asked.engine(dtype="float32")
    trunks: dict[str, Run] = {
        "our trunk, bfloat16": in_half_precision(engine),
        "the package's trunk, autocast": PackagesTrunk(engine, half=True),
        "the package's trunk, float32 (TF32)": PackagesTrunk(engine, half=False),
    }
    with torch.inference_mode(), asked.as_the_package_leaves_it():
        for count in batches:
            pixels = pixels_of(asked, count)
            for what, trunk in trunks.items():
                yield measured(asked, what, count, partial(trunk, pixels), roof.image_s)


def pixels_of(asked: Setting, count: int) -> torch.Tensor:
    images = [torch.from_numpy(square(asked.spec, seed)) for seed in range(1, count + 1)]
    return normalise(torch.stack(images).to(asked.device))
