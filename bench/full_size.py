"""Measures an encode of the full-size model on a CPU, the package's and ours in turns: `python -m bench.full_size`.

Random weights. Takes minutes: an encode is 5.6 TFLOP.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

import numpy as np
import psutil
import torch
from PIL import Image

from bench.timing import Call
from harness.figures import table
from harness.machine import this_machine
from harness.official import Official
from sam3_engine.compact import pack
from sam3_engine.engine import Engine
from sam3_engine.features import ImageFeatures
from sam3_engine.spec import SAM3, ModelSpec
from sam3_engine.transfer import Transfer
from sam3_engine.trunk.rope import window_order
from sam3_engine.trunk.vit import Trunk


@dataclass(frozen=True)
class Pair:
    """CPU seconds of one task, the least of some runs."""

    task: str
    ours: float
    theirs: float


def cpu_dtype() -> str:
    """The faster dtype of this processor's matrix products."""
    return (
        "bfloat16"
        if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        else "float32"
    )


def blocks(spec: ModelSpec, dtype: str, rounds: int) -> Iterator[Pair]:
    """One block of the trunk of each kind: the package's in float32, as `sam3` runs on a CPU, and ours in `dtype`."""
    shallow = replace(spec, vit_depth=2, vit_global_blocks=(1,), text_layers=1, text_dim=64, text_heads=4)
    vit = Engine.random(shallow, device="cpu", dtype="float32").model.backbone.vision_backbone.trunk
    trunk = Trunk.of(shallow, vit.state_dict(), getattr(torch, dtype))
    tokens = torch.randn(1, spec.grid, spec.grid, spec.vit_dim)
    ordered = tokens.flatten(1, 2)[:, window_order(spec.grid, spec.vit_window)]
    angles = trunk.angles(tokens.device)
    with torch.inference_mode():
        for index, kind in enumerate(("windowed", "global")):
            ours = partial(trunk.blocks[index], ordered, angles[index])
            yield _pair(f"one {kind} block", ours, partial(vit.blocks[index], tokens), rounds)


def encode(spec: ModelSpec, dtype: str, rounds: int) -> Pair:
    """A whole encode."""
    package = Engine.random(spec, device="cpu", dtype="float32")
    engine = Engine.random(spec, device="cpu", dtype=dtype)
    square = np.random.default_rng(0).integers(0, 256, (spec.image_size, spec.image_size, 3), dtype=np.uint8)
    official, picture = Official(package), Image.fromarray(square)
    return _pair("an encode", lambda: engine.encode([square]), lambda: official.set_image(picture), rounds)


def host_work(spec: ModelSpec, rounds: int = 20) -> dict[str, float]:
    """CPU seconds of making a computed image's features an embedding, bfloat16: channels last, as the trunk leaves
    them, and channels first, as before layout 2."""
    width, grid = spec.d_model, spec.grid
    shapes = [(spec.vit_dim, grid), (width // 8, 4 * grid), (width // 4, 2 * grid), (width, grid)]
    last = [torch.randn(1, side, side, depth).bfloat16() for depth, side in shapes]
    transfer = Transfer(torch.device("cpu"))

    def ours() -> object:
        trunk, *pvs = (part.permute(0, 3, 1, 2) for part in last)
        features = ImageFeatures(trunk, (pvs[0], pvs[1], pvs[2]))
        return [one.result() for one in pack(features, "", torch.bfloat16, transfer)]

    def first() -> object:
        return [part.permute(0, 3, 1, 2)[0].contiguous().clone() for part in last]

    with torch.inference_mode():
        pair = _pair("", ours, first, rounds)
    return {"layout 2": pair.ours, "layout 1": pair.theirs}


def _pair(task: str, ours: Call, theirs: Call, rounds: int) -> Pair:
    taken: list[list[float]] = [[], []]
    for _ in range(rounds):
        for call, times in zip((ours, theirs), taken, strict=True):
            before = time.process_time()
            call()
            times.append(time.process_time() - before)
    return Pair(task, min(taken[0]), min(taken[1]))


def rows(spec: ModelSpec, dtype: str, rounds: int, encodes: int) -> Iterator[tuple[str, str, str, str]]:
    """The lines of the table, each when it is measured."""
    pairs = blocks(spec, dtype, rounds)
    for pair in chain(pairs, (encode(spec, dtype, encodes) for _ in range(bool(encodes)))):
        yield pair.task, f"{pair.ours:.2f} s", f"{pair.theirs:.2f} s", f"{pair.theirs / pair.ours:.2f}x"
    host = host_work(spec)
    now, before = (f"{1000 * host[name]:.2f} ms" for name in ("layout 2", "layout 1"))
    yield "features to an embedding, by layouts 2 and 1", now, before, ""


Rows = list[tuple[str, str, str, str]]
HEAD = ("ours", "sam3 package, float32", "faster")
NEEDED = 14 * 10**9
"""Bytes of memory that two engines of full size in float32 take, beside what they compute."""


def section(spec: ModelSpec, measured: Rows) -> Iterator[str]:
    """The part of `make bench`'s report about the full size on a CPU. measured: gets the lines of its table."""
    yield "## The full-size model on a CPU"
    if spec is SAM3 and psutil.virtual_memory().available < NEEDED:
        yield f"Not measured: it takes {NEEDED / 1e9:.0f} GB of memory."
        return
    measured += rows(spec, cpu_dtype(), rounds=2, encodes=1)
    yield table((f"CPU time, ours in {cpu_dtype()}", *HEAD), measured)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dtype", default=cpu_dtype(), choices=("float32", "bfloat16"))
    parser.add_argument("--rounds", type=int, default=3, help="runs of a block")
    parser.add_argument(
        "--encodes", type=int, default=1, help="runs of a whole encode, minutes each; 0: none"
    )
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(asked.threads)
    print(f"{this_machine().line()}, {SAM3.name}, {asked.threads} torch thread{'s' * (asked.threads > 1)}")
    done = []
    for row in rows(SAM3, asked.dtype, asked.rounds, asked.encodes):
        print(*row, sep=" | ", flush=True)
        done.append(row)
    print(table((f"CPU time, ours in {asked.dtype}", *HEAD), done))


if __name__ == "__main__":
    main()
