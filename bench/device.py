"""Measures encoding in batches: images per second, memory, and the fraction of the device's matrix-multiply rate.

Meant for a GPU and the full-size model with random weights. Also runs on a CPU at any size, so that tests can run it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from bench.timing import side_by_side
from harness.official import Official
from sam3_engine.engine import Engine
from sam3_engine.spec import ModelSpec

BATCHES = (1, 2, 4, 8, 16)
SIDE = 8192
"""Rows and columns of the matrices on a GPU; a CPU multiplies smaller ones."""


@dataclass(frozen=True)
class Batch:
    """The figures of one batch size. fraction: achieved rate divided by `matmul_rate`."""

    compiled: bool
    images: int
    images_per_s: float
    tflops: float
    fraction: float
    memory_gib: float | None
    """Peak memory allocated on the GPU; None on a CPU."""


@dataclass(frozen=True)
class DeviceFigures:
    """The figures of one device and one model."""

    device: str
    dtype: str
    matmul_tflops: float
    official_images_per_s: float
    """The package's path, one image at a time: it has no batches of PIL images with prompts."""
    batches: list[Batch]


def matmul_rate(device: torch.device, dtype: torch.dtype, side: int, seconds: float) -> float:
    """Measured floating-point operations per second of multiplying square matrices of `side`."""
    a = torch.randn(side, side, device=device, dtype=dtype)
    b = torch.randn(side, side, device=device, dtype=dtype)
    return 2 * side**3 / side_by_side({"matmul": lambda: a @ b}, seconds)["matmul"].wall


def encode_flops(engine: Engine) -> float:
    """Floating-point operations of one image's encode, as torch counts them."""
    side = engine.spec.image_size
    counter = FlopCounterMode(display=False)
    with counter:
        engine.encode([np.zeros((side, side, 3), np.uint8)])
    return float(counter.get_total_flops())


def device_figures(
    spec: ModelSpec,
    *,
    device: str,
    dtype: str,
    batches: Sequence[int] = BATCHES,
    compiled: Sequence[bool] = (False, True),
    matrix: int = SIDE,
    seconds: float = 2.0,
) -> DeviceFigures:
    """Measure a model with random weights on a device."""
    engine = Engine.random(spec, device=device, dtype=dtype)
    rate = matmul_rate(engine.device, engine.precision.embedding, matrix, seconds)
    flops = encode_flops(engine)
    picture = Image.fromarray(_image(spec, 0))
    official = Official(engine)
    theirs = side_by_side({"official": lambda: official.set_image(picture)}, seconds)["official"].wall
    rows: list[Batch] = []
    for compile_it in compiled:
        if compile_it and engine.trunk is not None:
            engine.trunk.compile_blocks()
        rows += [_batch(engine, compile_it, count, flops, rate, seconds) for count in batches]
    return DeviceFigures(str(engine.device), str(engine.precision.embedding), rate / 1e12, 1 / theirs, rows)


def _batch(engine: Engine, compiled: bool, count: int, flops: float, rate: float, seconds: float) -> Batch:
    images = [_image(engine.spec, seed) for seed in range(count)]
    on_gpu = engine.device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(engine.device)
    wall = side_by_side({"encode": lambda: engine.encode(images)}, seconds)["encode"].wall
    memory = torch.cuda.max_memory_allocated(engine.device) / 2**30 if on_gpu else None
    done = flops * count / wall
    return Batch(compiled, count, count / wall, done / 1e12, done / rate, memory)


def _image(spec: ModelSpec, seed: int) -> npt.NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (spec.image_size, spec.image_size, 3), dtype=np.uint8)
