"""A few frames with the model of full size and random weights, on a CPU."""

import time
from collections.abc import Callable

import numpy as np
from torch.utils.flop_counter import FlopCounterMode

from bench.timing import Cost
from bench.video.drawn import SETTLED, remembering
from sam3_engine.engine import Engine
from sam3_engine.spec import SAM3, ModelSpec
from sam3_engine.tracking.passes import StepItem, step


def full_size(objects: int, rounds: int, spec: ModelSpec = SAM3) -> tuple[dict[str, Cost], dict[str, float]]:
    """Costs of an encode and of finding objects, "step", and their floating-point operations."""
    engine = Engine.random(spec, device="cpu", video=True)
    side = spec.image_size
    square = np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8)
    features = engine.expand(engine.sample())
    states = remembering(engine, features, objects)
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
