"""Evaluates the bundled model on held-out scenes: `make eval`.

Scenes are rendered at 480 pixels and resized by the same code that serves requests, so the figures describe the product
and not the training loop.
"""

import argparse
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from sam3_engine.encode_masks import concept_instances, visual_instance
from sam3_engine.engine import ConceptDetections, ConceptItem, Engine, VisualItem, VisualMask
from sam3_engine.features import Features
from sam3_engine.types import ConceptPrompt, ImageSize, VisualPrompt
from training.concepts import ALL_CONCEPTS, OTHER_WORDS
from training.samples import box_prompt, correction, exemplar, matching, one_click, several_clicks
from training.scenes import Scene, draw_scene, render

HELD_OUT = 10_000_000
"""First seed of the held-out scenes, which training never uses."""
GATE = {
    "concept F1": 0.92,
    "presence accuracy": 0.97,
    "absent concepts empty": 0.95,
    "exemplar F1": 0.85,
    "one-click IoU": 0.85,
    "box IoU": 0.90,
}


@dataclass(slots=True)
class Tally:
    """Numbers of found, expected and correct instances at IoU 0.5."""

    right: int = 0
    found: int = 0
    wanted: int = 0

    def add(self, masks: Sequence[npt.NDArray[np.bool_]], truth: Sequence[npt.NDArray[np.bool_]]) -> None:
        """Count a prompt's masks, by greedy one-to-one matching in the order of the scores."""
        free = list(truth)
        for mask in masks:
            ious = [iou(mask, other) for other in free]
            if ious and max(ious) >= 0.5:
                free.pop(int(np.argmax(ious)))
                self.right += 1
        self.found += len(masks)
        self.wanted += len(truth)

    @property
    def f1(self) -> float:
        return 2 * self.right / max(1, self.found + self.wanted)


@dataclass(slots=True)
class Report:
    concepts: Tally = field(default_factory=Tally)
    exemplars: Tally = field(default_factory=Tally)
    presence: list[bool] = field(default_factory=list)
    absent_empty: list[bool] = field(default_factory=list)
    ious: dict[str, list[float]] = field(default_factory=dict)

    def add_masks(
        self, name: str, masks: Sequence[npt.NDArray[np.bool_]], truth: Sequence[npt.NDArray[np.bool_]]
    ) -> None:
        """Add the IoU of each mask with its clicked object."""
        self.ious.setdefault(name, []).extend(map(iou, masks, truth))

    def figures(self) -> dict[str, float]:
        """Every figure, the gate's first."""
        tally = self.concepts
        out = {
            "concept F1": tally.f1,
            "presence accuracy": float(np.mean(self.presence)),
            "absent concepts empty": float(np.mean(self.absent_empty)),
            "exemplar F1": self.exemplars.f1,
            "concept precision": tally.right / max(1, tally.found),
            "concept recall": tally.right / max(1, tally.wanted),
        }
        return out | {f"{name} IoU": float(np.mean(values)) for name, values in self.ious.items()}


def iou(a: npt.NDArray[np.bool_], b: npt.NDArray[np.bool_]) -> float:
    union = np.logical_or(a, b).sum()
    return float(np.logical_and(a, b).sum() / union) if union else 1.0


def evaluate(engine: Engine, scenes: int = 200) -> dict[str, float]:
    """Figures on the first `scenes` held-out scenes; the seeds determine the prompts too."""
    report = Report()
    for seed in range(HELD_OUT, HELD_OUT + scenes):
        rng = random.Random(seed)
        scene = draw_scene(seed, ImageSize(480, round(480 * rng.uniform(0.8, 1.4))))
        truth = [scene.mask(index, scene.size) for index in range(len(scene.shapes))]
        picture = Image.fromarray(render(scene)).resize(
            (engine.spec.image_size,) * 2, Image.Resampling.BILINEAR
        )
        features = engine.expand(engine.encode([np.asarray(picture)])[0])
        _concepts(engine, features, scene, truth, rng, report)
        _clicks(engine, features, scene, truth, rng, report)
    return report.figures()


def _masks(detections: ConceptDetections, size: ImageSize) -> list[npt.NDArray[np.bool_]]:
    (instances,) = concept_instances([detections], size, "binary", None)
    return [instance.masks for instance in instances]


def answered(masks: Sequence[VisualMask], size: ImageSize) -> list[npt.NDArray[np.bool_]]:
    """With small holes filled, as clients get them."""
    return [visual_instance(mask, size, "binary").masks for mask in masks]


def _concepts(
    engine: Engine,
    features: Features,
    scene: Scene,
    truth: list[npt.NDArray[np.bool_]],
    rng: random.Random,
    report: Report,
) -> None:
    present = [concept for concept in ALL_CONCEPTS if matching(scene, concept)]
    absent = [concept for concept in ALL_CONCEPTS if not matching(scene, concept)]
    asked = rng.sample(present, min(5, len(present)))
    missing = [str(concept) for concept in rng.sample(absent, 4)] + [rng.choice(OTHER_WORDS)]
    example = exemplar(scene, rng)
    prompts = [ConceptPrompt(str(c)) for c in asked] + [ConceptPrompt(t) for t in missing] + [example.prompt]
    answers = engine.segment_concepts([ConceptItem(features, scene.size, prompts)])[0]
    for concept, answer in zip(asked, answers, strict=False):
        report.concepts.add(_masks(answer, scene.size), [truth[i] for i in matching(scene, concept)])
        report.presence.append(len(answer.scores) > 0)
    for answer in answers[len(asked) : -1]:
        report.concepts.add(_masks(answer, scene.size), [])
        report.presence.append(len(answer.scores) == 0)
        report.absent_empty.append(len(answer.scores) == 0)
    report.exemplars.add(_masks(answers[-1], scene.size), [truth[i] for i in example.targets])


def _clicks(
    engine: Engine,
    features: Features,
    scene: Scene,
    truth: list[npt.NDArray[np.bool_]],
    rng: random.Random,
    report: Report,
) -> None:
    objects = range(len(scene.shapes))
    kinds = {
        "one-click": [one_click(scene, i, rng) for i in objects],
        "box": [box_prompt(scene, i, rng) for i in objects],
        "several-click": [several_clicks(scene, i, 2, 1, rng) for i in objects],
    }
    first: list[VisualMask] = []
    for name, prompts in kinds.items():
        masks = engine.segment_visual([VisualItem(features, scene.size, prompts)])[0]
        first = masks if name == "one-click" else first
        report.add_masks(name, answered(masks, scene.size), truth)
    refined = []
    for index, (prompt, mask) in enumerate(zip(kinds["one-click"], first, strict=True)):
        cells = mask.low_res_logits.shape[0]
        shrunk = (
            cv2.resize(truth[index].astype(np.float32), (cells, cells), interpolation=cv2.INTER_AREA) > 0.5
        )
        wrong = (mask.low_res_logits > 0) != shrunk
        point = correction(scene, wrong if wrong.any() else shrunk, shrunk, rng)
        points = (*prompt.points, point) if point else prompt.points
        refined.append(VisualPrompt(points, previous_logits=mask.low_res_logits))
    masks = engine.segment_visual([VisualItem(features, scene.size, refined)])[0]
    report.add_masks("refined", answered(masks, scene.size), truth)


def table(figures: dict[str, float]) -> str:
    """The figures beside the gate's bars, as a Markdown table."""
    rows = ["| figure | measured | bar |", "| --- | ---: | ---: |"]
    for name, value in figures.items():
        bar = f"{GATE[name]:.2f}" if name in GATE else ""
        rows.append(f"| {name} | {value:.3f} | {bar} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--state", type=Path, help="a training state instead of the bundled checkpoint")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    args = parser.parse_args()
    if args.state:
        from sam3_engine.spec import TINY
        from training.states import averaged_model

        engine = Engine.from_state(
            averaged_model(args.state).state_dict(), TINY, device="cpu", dtype="float32"
        )
    else:
        engine = Engine.load("tiny", device="cpu")
    figures = evaluate(engine, args.scenes)
    print(table(figures))
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")
    failed = [name for name, bar in GATE.items() if figures[name] < bar]
    if failed:
        raise SystemExit(f"below the bar: {', '.join(failed)}")


if __name__ == "__main__":
    main()
