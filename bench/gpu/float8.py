"""The experiment with float8 in the image trunk: its answers beside float32's and bfloat16's, and its speed."""

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch

from bench.gpu.right import Verdict, relative
from bench.gpu.setting import Setting
from bench.gpu.speed import Figure, Roofline, measured
from bench.gpu.trunk import Differences, Run, answers, in_half_precision, pixels_of
from sam3_engine.engine import Engine
from sam3_engine.spec import TINY
from sam3_engine.trunk.float8 import check_float8
from sam3_engine.trunk.vit import Trunk
from training.evaluate import FIRST_SEED

BROKEN = 0.7
"""Mean overlap of masks below which the kernel is wrong, and not only coarse."""


def in_float8(engine: Engine) -> Trunk:
    """Our trunk with linear layers in float8, with the weights of an engine in float32."""
    trunk = in_half_precision(engine)
    trunk.use_float8()
    return trunk


def agrees(asked: Setting, scenes: int) -> Iterator[Verdict]:
    """The experiment with float8: how far answers of the bundled model, and features of the measured one with random
    weights, are from float32's, beside those in bfloat16. Runs on a CPU too."""
    if (why := _missing(asked)) is not None:
        yield Verdict("float8", True, f"not measured: {why}")
        return
    engine = asked.engine(TINY, trained=True, dtype="float32")
    assert engine.trunk is not None
    trunks: list[Run] = [in_float8(engine), in_half_precision(engine), engine.trunk]
    eight, half = Differences(), Differences()
    for seed in range(FIRST_SEED, FIRST_SEED + scenes):
        ours, rounded, exact = answers(engine, trunks, seed)
        eight.add(exact, ours)
        half.add(exact, rounded)
    for kind in ("concept", "click"):
        most = [float(np.quantile(one.scores[kind], 0.99)) for one in (eight, half)]
        ious = [float(np.mean(one.ious[kind])) for one in (eight, half)]
        shown = (
            f"99 % of scores differ by at most {most[0]:.4f} ({most[1]:.4f} in bfloat16); masks' IoU {ious[0]:.4f} in "
            f"the mean ({ious[1]:.4f})"
        )
        yield Verdict(f"float8 from float32, {scenes} scenes: {kind}", ious[0] >= BROKEN, shown)
    large, pixels = asked.engine(dtype="float32"), pixels_of(asked, 1)
    assert large.trunk is not None
    with torch.inference_mode():
        wanted = large.trunk(pixels)[-1]
        errors = [relative(make(large)(pixels)[-1], wanted) for make in (in_float8, in_half_precision)]
    shown = f"{errors[0]:.1e}; {errors[1]:.1e} in bfloat16"
    yield Verdict(f"float8, {large.spec.name}, random weights: relative error", errors[0] < 0.2, shown)


def _missing(asked: Setting) -> str | None:
    """The reason why this device cannot take part in the experiment; None where it can."""
    if not asked.on_gpu:
        return None  # slow, but exact
    try:
        check_float8(asked.device, torch.bfloat16)
    except ValueError as error:
        return str(error)
    return None


def takes(asked: Setting, batches: Sequence[int], roof: Roofline) -> Iterator[Figure]:
    """The compiled trunk alone, in float8 and in bfloat16: without compiling, rounding takes more than is saved."""
    if _missing(asked) is not None:
        return
    engine = asked.engine(dtype="float32")
    with torch.inference_mode():
        for name, make in (("float8", in_float8), ("bfloat16", in_half_precision)):
            trunk = make(engine)
            trunk.compile_blocks()
            for count in batches:
                pixels = pixels_of(asked, count)
                yield measured(
                    asked, f"our trunk, compiled, {name}", count, partial(trunk, pixels), roof.image_s
                )
            del trunk
