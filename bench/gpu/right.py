"""Checks of the answers on the device: as on the CPU, the same with graphs as without, and without waiting."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from bench.gpu.setting import Setting, concepts, features, square
from sam3_engine.engine import ConceptDetections, ConceptItem, Engine, VisualItem, VisualMask
from sam3_engine.features import Features
from sam3_engine.spec import GRAPHED_IMAGES, TINY, ModelSpec
from sam3_engine.types import ImageSize, Point, VisualPrompt

SIZE = ImageSize(480, 640)
CLICKS = [VisualPrompt((Point(x, y),)) for x, y in ((320, 240), (100, 90), (500, 400), (60, 420))]
WAITS = {"start of an encode": 0, "concept": 2, "click": 1}
"""Most times that the host may wait for the device in one call."""
PROMPTS = 4


@dataclass(frozen=True, slots=True)
class Verdict:
    """One check: its result, and its figures."""

    what: str
    held: bool
    figures: str


@dataclass(frozen=True, slots=True)
class Answers:
    """An engine's answers to the same prompts."""

    found: list[ConceptDetections]
    masks: list[VisualMask]


def answers(engine: Engine, image: Features, threshold: float, prompts: int = PROMPTS) -> Answers:
    found = engine.segment_concepts([ConceptItem(image, SIZE, concepts(prompts, threshold))])[0]
    return Answers(found, engine.segment_visual([VisualItem(image, SIZE, CLICKS[:prompts])])[0])


def as_on_the_cpu(asked: Setting, spec: ModelSpec, *, trained: bool) -> list[Verdict]:
    """Embeddings, scores and masks against float32 on the CPU.

    With the trained model, concepts above 0.5 are compared in order; with random weights, whose scores are all alike,
    each of the CPU's boxes with the nearest one. Random weights' masks have many cells near zero.
    """
    name = f"{spec.name}, {'bundled' if trained else 'random'} weights"
    reference, engine = asked.reference(spec, trained=trained), asked.engine(spec, trained=trained)
    image = square(spec, 1)
    theirs, ours = reference.encode([image])[0], engine.encode([image])[0]
    here, there = engine.expand(ours), reference.expand(theirs)
    verdicts = []
    with torch.inference_mode():
        pairs = zip((here.image.trunk, *here.image.pvs), (there.image.trunk, *there.image.pvs), strict=True)
        errors = [relative(one.float().cpu(), other.float()) for one, other in pairs]
    shown = ", ".join(f"{error:.1e}" for error in errors)
    verdicts.append(Verdict(f"{name}: embeddings' relative error", max(errors) < 0.05, shown))
    threshold = 0.5 if trained else 0.0
    mine, cpu = answers(engine, here, threshold), answers(reference, there, threshold)
    scores, ious = _concepts(mine.found, cpu.found, ordered=trained)
    verdicts.append(Verdict(f"{name}: concept scores differ by", scores < 0.02, f"{scores:.4f} at most"))
    good = float(np.mean(ious)) >= (0.95 if trained else 0.9) if ious else not trained
    shown = f"mean {np.mean(ious):.4f}, least {min(ious):.4f} of {len(ious)}" if ious else "no masks"
    verdicts.append(Verdict(f"{name}: concept masks' IoU", good, shown))
    clicked = [
        overlap(one.mask_logits >= 0, other.mask_logits >= 0)
        for one, other in zip(mine.masks, cpu.masks, strict=True)
    ]
    mean = float(np.mean(clicked))
    shown = f"mean {mean:.4f}, least {min(clicked):.4f} of {len(clicked)}"
    verdicts.append(Verdict(f"{name}: click masks' IoU", mean >= 0.95, shown))
    return verdicts


def with_graphs_as_without(asked: Setting) -> list[Verdict]:
    """A warmed-up engine, whose passes are CUDA graphs, against one that runs every kernel by itself."""
    plain, warm = asked.another(TINY, trained=True), asked.engine(TINY, trained=True)
    warm.warm_up(prompts=PROMPTS)
    embeddings = plain.encode([square(TINY, seed) for seed in (1, 2)])
    worst = 0.0
    for embedding in embeddings:
        for prompts in (1, 3, PROMPTS):  # three are padded to four
            mine, theirs = (answers(one, one.expand(embedding), 0.5, prompts) for one in (warm, plain))
            for a, b in zip(mine.found, theirs.found, strict=True):
                worst = max(worst, _difference(a.scores, b.scores))
            for c, d in zip(mine.masks, theirs.masks, strict=True):
                worst = max(worst, _difference(c.low_res_logits, d.low_res_logits) / 32)
    captured, failed = (
        sum(counts) for counts in zip(*((len(g), g.failed) for g in warm.graphs), strict=True)
    )
    held = worst < 0.02 and not failed and bool(captured) == asked.on_gpu
    return [
        Verdict("graphs and single kernels agree", held, f"{worst:.1e}; {captured} graphs, {failed} failed")
    ]


def encodes_with_graphs_as_without(asked: Setting) -> Iterator[Verdict]:
    """Graphs of encodes of one and of two images, not compiled and compiled, against single kernels."""
    plain = asked.another(TINY, trained=True)
    images = [square(TINY, seed) for seed in (1, 2, 3)]
    for compiled in (False, True) if asked.on_gpu else (False,):
        warm = asked.another(TINY, trained=True)
        for engine in (plain, warm) if compiled else ():
            assert engine.trunk is not None
            engine.trunk.compile_blocks()
        warm.use_graphs("all")
        warm.warm_up(images=2, prompts=0)
        worst = 0.0
        for batch in (images[:1], images[1:2], images[1:3], images):
            for one, other in zip(warm.encode(batch), plain.encode(batch), strict=True):
                mine, theirs = plain.expand(one).image, plain.expand(other).image
                pairs = zip((mine.trunk, *mine.pvs), (theirs.trunk, *theirs.pvs), strict=True)
                worst = max(worst, *(relative(a.float(), b.float()) for a, b in pairs))
        graphs = warm.graphs[-1]
        held = worst < 1e-2 and len(graphs) == (GRAPHED_IMAGES if asked.on_gpu else 0)
        shown = f"{worst:.1e}; {len(graphs)} graphs, {graphs.failed} failed"
        yield Verdict(
            f"graphs of encodes and single kernels agree{', compiled' if compiled else ''}", held, shown
        )


def without_waiting(asked: Setting) -> list[Verdict]:
    """Check how often the host waits in a call, as CUDA itself reports it."""
    if not asked.on_gpu:
        return []
    engine = asked.engine(TINY, trained=True)
    engine.warm_up(prompts=PROMPTS)
    image = features(engine)
    answers(engine, image, 0.5)
    pixels = [square(TINY, 1)]
    calls: dict[str, Callable[[], object]] = {
        "start of an encode": lambda: engine.start_encode(pixels),
        "concept": lambda: engine.segment_concepts([ConceptItem(image, SIZE, concepts(PROMPTS, 0.5))]),
        "click": lambda: engine.segment_visual([VisualItem(image, SIZE, CLICKS[:1])]),
    }
    verdicts = []
    for name, call in calls.items():
        torch.cuda.synchronize(asked.device)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                call()
            finally:
                torch.cuda.set_sync_debug_mode("default")
        waits = sum("called a synchronizing CUDA operation" in str(one.message) for one in seen)
        verdicts.append(Verdict(f"{name}: waits for the device", waits <= WAITS[name], str(waits)))
    return verdicts


def in_several_threads(asked: Setting) -> list[Verdict]:
    """Threads that share an engine and its graphs get the answers of one thread."""
    engine = asked.engine(TINY, trained=True)
    engine.warm_up(prompts=PROMPTS)
    images = [features(engine, seed) for seed in (1, 2)]
    alone = [answers(engine, image, 0.5) for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda n: answers(engine, images[n % 2], 0.5), range(12)))
    worst = max(
        _difference(a.scores, b.scores)
        for number, one in enumerate(together)
        for a, b in zip(one.found, alone[number % 2].found, strict=True)
    )
    return [Verdict("four threads get one thread's answers", worst < 1e-3, f"{worst:.1e}")]


def _difference(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    """Largest difference; infinite where the numbers of answers differ."""
    return float(np.abs(a - b).max(initial=0)) if a.shape == b.shape else float("inf")


def relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    """The norm of the difference, as a part of the norm."""
    return float((ours - theirs).norm() / theirs.norm())


def overlap(a: torch.Tensor, b: torch.Tensor) -> float:
    """Intersection over union of two masks."""
    union = (a | b).sum().item()
    return (a & b).sum().item() / union if union else 1.0


def _concepts(
    ours: Sequence[ConceptDetections], theirs: Sequence[ConceptDetections], *, ordered: bool
) -> tuple[float, list[float]]:
    """Largest difference of scores, and the IoUs of the masks."""
    worst = 0.0
    ious: list[float] = []
    for mine, cpu in zip(ours, theirs, strict=True):
        if len(mine.scores) != len(cpu.scores):
            return float("inf"), ious
        if not len(cpu.scores):
            continue
        near = (
            np.arange(len(cpu.scores))
            if ordered
            else np.abs(mine.boxes[None] - cpu.boxes[:, None]).sum(-1).argmin(1)
        )
        worst = max(worst, _difference(mine.scores[near], cpu.scores))
        logits = mine.mask_logits[torch.from_numpy(near).to(mine.mask_logits.device)].cpu()
        ious += [overlap(a > 0, b > 0) for a, b in zip(logits, cpu.mask_logits, strict=True)]
    return worst, ious
