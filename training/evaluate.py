"""Evaluates the bundled model on two sets of scenes that it was not trained on: `make eval`.

The plain set is drawn by the code that draws a part of the training scenes, from other seeds. The held-out set is drawn
by code that draws nothing else. Scenes are about 480 pixels wide and resized as requests are, so the figures describe
the product and not the training loop.
"""

import json
import os
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch

from sam3_engine.bundled import BUNDLED_TINY, load_bundled
from sam3_engine.encode_masks import concept_instances, visual_instance
from sam3_engine.engine import ConceptDetections, ConceptItem, Engine, VisualItem, VisualMask
from sam3_engine.features import Features
from sam3_engine.spec import TINY
from sam3_engine.types import ConceptPrompt, ImageSize, VisualPrompt
from training.arguments import Parser, bundled_file, new_file, whole
from training.concepts import ALL_CONCEPTS, OTHER_WORDS
from training.held_out import draw_held_out
from training.labelled import Labelled
from training.samples import box_prompt, correction, exemplar, matching, one_click, several_clicks
from training.scenes import draw_scene

FIRST_SEED = 10_000_000
"""First seed of the plain scenes, which training never uses."""
Gate = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class SceneSet:
    """Scenes by their number from 0, and the least that figures on them may be. draw: gets the number and the random
    numbers that prompts are made from afterwards."""

    draw: Callable[[int, random.Random], Labelled]
    gate: Gate


def _plain(number: int, rng: random.Random) -> Labelled:
    return draw_scene(FIRST_SEED + number, ImageSize(480, round(480 * rng.uniform(0.8, 1.4))))


def _held_out(number: int, _: random.Random) -> Labelled:
    return draw_held_out(number)


SETS = {
    "plain": SceneSet(
        _plain,
        {
            "concept F1": 0.92,
            "presence accuracy": 0.97,
            "absent concepts empty": 0.95,
            "exemplar F1": 0.85,
            "one-click IoU": 0.85,
            "box IoU": 0.90,
        },
    ),
    "held out": SceneSet(
        _held_out,
        {
            "concept F1": 0.92,
            "presence accuracy": 0.96,
            "absent concepts empty": 0.95,
            "exemplar F1": 0.88,
            "one-click IoU": 0.88,
            "box IoU": 0.90,
        },
    ),
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

    def join(self, other: "Tally") -> None:
        self.right += other.right
        self.found += other.found
        self.wanted += other.wanted

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

    def join(self, other: "Report") -> None:
        """Add another report's counts."""
        self.concepts.join(other.concepts)
        self.exemplars.join(other.exemplars)
        self.presence += other.presence
        self.absent_empty += other.absent_empty
        for name, values in other.ious.items():
            self.ious.setdefault(name, []).extend(values)

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


def evaluate(engine: Engine, scenes: SceneSet, numbers: Iterable[int]) -> Report:
    """A report on the scenes of these numbers, which determine the prompts too."""
    report = Report()
    square = ImageSize(engine.spec.image_size, engine.spec.image_size)
    for number in numbers:
        rng = random.Random(FIRST_SEED + number)
        scene = scenes.draw(number, rng)
        truth = [scene.mask(index, scene.size) for index in range(len(scene.shapes))]
        features = engine.expand(engine.encode([scene.picture(square)])[0])
        _concepts(engine, features, scene, truth, rng, report)
        _clicks(engine, features, scene, truth, rng, report)
    return report


def _masks(detections: ConceptDetections, size: ImageSize) -> list[npt.NDArray[np.bool_]]:
    (instances,) = concept_instances([detections], size, "binary", None)
    return [instance.masks for instance in instances]


def answered(masks: Sequence[VisualMask], size: ImageSize) -> list[npt.NDArray[np.bool_]]:
    """With small holes filled, as clients get them."""
    return [visual_instance(mask, size, "binary").masks for mask in masks]


def _concepts(
    engine: Engine,
    features: Features,
    scene: Labelled,
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
    scene: Labelled,
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


def table(figures: dict[str, float], gate: Gate) -> str:
    """The figures beside the gate's bars, as a Markdown table."""
    rows = ["| figure | measured | bar |", "| --- | ---: | ---: |"]
    for name, value in figures.items():
        bar = f"{gate[name]:.2f}" if name in gate else ""
        rows.append(f"| {name} | {value:.3f} | {bar} |")
    return "\n".join(rows)


def _in_process(name: str, checkpoint: Path, numbers: Sequence[int]) -> Report:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    engine = Engine.from_state(load_bundled(checkpoint), TINY, device="cpu", dtype="float32")
    return evaluate(engine, SETS[name], numbers)


def main() -> None:
    parser = Parser(__doc__)
    parser.add_argument("--scenes", type=whole(1), default=200, help="of each set")
    parser.add_argument("--weights", type=bundled_file, default=BUNDLED_TINY, help="a bundled file")
    parser.add_argument("--processes", type=whole(1), default=os.cpu_count() or 1)
    parser.add_argument("--json", type=new_file, help="also write the figures here")
    args = parser.parse_args()
    parts = [list(range(args.scenes))[start :: args.processes] for start in range(args.processes)]
    failed = []
    figures = {}
    # Each process has its own engine: a fork after torch has started threads may hang.
    with ProcessPoolExecutor(args.processes, mp_context=get_context("spawn")) as pool:
        asked = {
            name: [pool.submit(_in_process, name, args.weights, part) for part in parts if part]
            for name in SETS
        }
        for name, futures in asked.items():
            report = Report()
            for future in futures:
                report.join(future.result())
            figures[name] = report.figures()
            gate = SETS[name].gate
            print(f"{name}, {args.scenes} scenes\n\n{table(figures[name], gate)}\n", flush=True)
            failed += [f"{name}: {figure}" for figure, bar in gate.items() if figures[name][figure] < bar]
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")
    if failed:
        raise SystemExit(f"below the bar: {', '.join(failed)}")


if __name__ == "__main__":
    main()
