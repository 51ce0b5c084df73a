"""A few frames with the model of full size and random weights, on a CPU."""

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from torch.utils.flop_counter import FlopCounterMode

from bench.timing import Cost
from bench.video.speed import SETTLED
from sam3_engine.engine import Engine
from sam3_engine.spec import SAM3, ModelSpec
from sam3_engine.tracking.passes import StartItem, StepItem, start, step
from sam3_engine.tracking.state import POINTERS, TrackState
from sam3_engine.types import ImageSize, Point, VisualPrompt


def full_size(objects: int, rounds: int, spec: ModelSpec = SAM3) -> tuple[dict[str, Cost], dict[str, float]]:
    """Costs of an encode and of finding objects, "step", and their floating-point operations."""
    engine = Engine.random(spec, device="cpu", video=True)
    side = spec.image_size
    square = np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8)
    features = engine.expand(engine.sample())
    prompts = [VisualPrompt((Point(side * (1 + row) / (1 + objects), side / 2),)) for row in range(objects)]
    begun = start(engine, [StartItem(features, ImageSize(side, side), prompts)])[0]
    states = [_remembering(one.state) for one in begun]
    calls: dict[str, Callable[[], object]] = {
        "encode": lambda: engine.encode([square]),
        "step": lambda: step(engine, [StepItem(features, states, SETTLED)]),
    }
    costs: dict[str, Cost] = {}
    operations: dict[str, float] = {}
    for name, call in calls.items():
        taken = []
        for _ in range(rounds):
            wall, cpu = time.perf_counter(), time.process_time()
            with FlopCounterMode(display=False) as counter:
                call()
            taken.append((time.perf_counter() - wall, time.process_time() - cpu))
        operations[name] = float(counter.get_total_flops())
        seconds, cpu_seconds = np.median(taken, axis=0).tolist()
        costs[name] = Cost(seconds, cpu_seconds, rounds)
    return costs, operations


def _remembering(state: TrackState) -> TrackState:
    """The state after SETTLED frames that all looked alike: as many memories as there ever are."""
    (memory,) = state.conditioning
    recent = [replace(memory, frame=SETTLED - since) for since in range(POINTERS, 0, -1)]
    recent[: -state.memories] = [one.without_features() for one in recent[: -state.memories]]
    return replace(state, frame=SETTLED - 1, recent=tuple(recent))
