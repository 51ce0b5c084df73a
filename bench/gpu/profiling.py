"""A profile of one batch: the time in each kernel, and the device's idle time between them."""

import time
from collections.abc import Sequence

import torch
from torch.profiler import ProfilerActivity, profile

from bench.gpu.right import CLICKS, SIZE
from bench.gpu.setting import Setting, concepts, features, square
from bench.timing import Call
from harness.figures import ms, table
from sam3_engine.engine import ConceptItem, VisualItem

ROWS = 15
WIDTH = 100


def encode(asked: Setting, count: int, name: str = "an encode") -> dict[str, str]:
    """The profile of one batch of images."""
    engine = asked.engine()
    images = [square(engine.spec, seed) for seed in range(1, count + 1)]
    return {f"{name} of {count}": _kernels(asked, lambda: engine.encode(images))}


def batches(asked: Setting, prompts: int) -> dict[str, str]:
    """Profiles of an encode, of one concept and of several, and of a click."""
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
    return encode(asked, 8 if asked.on_gpu else 1) | {
        name: _kernels(asked, call) for name, call in calls.items()
    }


def _kernels(asked: Setting, call: Call) -> str:
    """Tables of the kernels and of the host's operations, longest first."""
    call()
    _wait(asked)
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if asked.on_gpu else [])]
    with profile(activities=kinds) as found:
        started = time.perf_counter()
        call()
        _wait(asked)
        wall = time.perf_counter() - started
    averages = found.key_averages()
    host = _table("on the host", [(one.key, one.count, one.self_cpu_time_total / 1e6) for one in averages])
    on_device = [one for one in averages if one.device_type.name == "CUDA"]
    kernels = [(one.key, one.count, one.self_device_time_total / 1e6) for one in on_device]
    head = f"{ms(wall)} under the profiler."
    return "\n\n".join([head, *([_table("on the device", kernels)] if kernels else []), host])


def _table(where: str, taken: Sequence[tuple[str, int, float]]) -> str:
    """A table of the longest calls. taken: each call's name, count and seconds."""
    whole = sum(seconds for _, _, seconds in taken)
    rows = [
        (name[:WIDTH], count, ms(seconds), f"{seconds / whole:.0%}" if whole else "")
        for name, count, seconds in sorted(taken, key=lambda one: -one[2])[:ROWS]
    ]
    rows.append(("all", sum(count for _, count, _ in taken), ms(whole), ""))
    return table((where, "calls", "time", "share"), rows)


def _wait(asked: Setting) -> None:
    if asked.on_gpu:
        torch.cuda.synchronize(asked.device)
