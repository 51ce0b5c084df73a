"""Which kernels one batch spends its time in, and how long the device is idle between them."""

import time
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from bench.gpu.right import CLICKS, SIZE
from bench.gpu.setting import Setting, concepts, features, square
from bench.timing import Call
from harness.figures import ms, table
from sam3_engine.engine import ConceptItem, VisualItem

ROWS = 18
WIDTH = 90


def encode(asked: Setting, name: str = "an encode") -> dict[str, str]:
    """Of one batch of images."""
    engine = asked.engine()
    count = 8 if asked.on_gpu else 1
    images = [square(engine.spec, seed) for seed in range(1, count + 1)]
    return {f"{name} of {count}": _kernels(asked, lambda: engine.encode(images))}


def batches(asked: Setting, prompts: int) -> dict[str, str]:
    """Of an encode, of one concept and of several, and of a click."""
    engine = asked.engine()
    image = features(engine)
    one = ConceptItem(image, SIZE, concepts(1, 1.0))
    several = ConceptItem(image, SIZE, concepts(prompts, 0.0))
    click = VisualItem(image, SIZE, CLICKS[:1])
    calls: dict[str, Call] = {
        "one concept, no masks": lambda: engine.segment_concepts([one]),
        f"{prompts} concepts, all masks": lambda: engine.segment_concepts([several]),
        "a click": lambda: engine.segment_visual([click]),
    }
    return encode(asked) | {name: _kernels(asked, call) for name, call in calls.items()}


def _kernels(asked: Setting, call: Call) -> str:
    """A table of the kernels, longest first; on a CPU, of operations."""
    call()
    _wait(asked)
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if asked.on_gpu else [])]
    with profile(activities=kinds) as found:
        started = time.perf_counter()
        call()
        _wait(asked)
        wall = time.perf_counter() - started
    kernels = [(one, _microseconds(asked, one)) for one in found.key_averages() if _is_own(asked, one)]
    kernels.sort(key=lambda pair: -pair[1])
    busy = sum(each for _, each in kernels) / 1e6
    calls = sum(one.count for one, _ in kernels)
    rows = [
        (one.key[:WIDTH], one.count, ms(each / 1e6), f"{each / 1e6 / busy:.0%}")
        for one, each in kernels[:ROWS]
        if busy
    ]
    head = f"{ms(wall)} under the profiler, {ms(busy)} in {calls} kernels and copies."
    return f"{head}\n\n{table(('kernel', 'calls', 'time', 'share'), rows)}"


def _is_own(asked: Setting, one: Any) -> bool:
    return not asked.on_gpu or one.device_type.name == "CUDA"


def _microseconds(asked: Setting, one: Any) -> float:
    return float(one.self_device_time_total if asked.on_gpu else one.self_cpu_time_total)


def _wait(asked: Setting) -> None:
    if asked.on_gpu:
        torch.cuda.synchronize(asked.device)
