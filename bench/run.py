"""The engine's benchmark: `make bench`. Prints tables and writes them to reports/bench.md and bench.json."""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import psutil
import torch

from bench import full_size, labelling
from bench.device import DeviceFigures, device_figures
from bench.engine import INSTANCES, MEGAPIXELS, PROMPTS, Row, mask_rows, model_rows
from bench.growth import Growth, engine_growth, processes
from bench.threads import best_threads
from bench.video import report as video
from harness.figures import ms, table
from harness.machine import this_machine
from sam3_engine.engine import Engine
from sam3_engine.spec import SAM3, TINY


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="for each measurement")
    parser.add_argument("--threads", type=int, default=0, help="of torch; without: whatever is faster here")
    parser.add_argument("--small", action="store_true", help="few sizes, for a test of the benchmark itself")
    parser.add_argument("--out", type=Path, default=Path("reports"))
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    asked = parse(arguments)
    engine = Engine.load("tiny", device="cpu")
    threads = asked.threads or best_threads(engine)
    torch.set_num_threads(threads)
    machine = this_machine()
    parts: list[str] = []

    def tell(texts: Iterator[str]) -> None:
        for text in texts:
            parts.append(text)
            print(text, end="\n\n", flush=True)

    tell(iter([f"{machine.line()}, tiny, {threads} torch thread{'s' * (threads > 1)}"]))
    rows = model_rows(engine, asked.seconds, (1, 2) if asked.small else PROMPTS)
    tell(_rows("The model", rows))
    sizes = ((0.5,), (1, 4)) if asked.small else (MEGAPIXELS, INSTANCES)
    masks = mask_rows(engine, asked.seconds, *sizes)
    tell(_rows("From logits to polygons", masks))
    grown = engine_growth(engine, asked.seconds, small=asked.small)
    if not asked.small:
        counts = range(1, 2 * (psutil.cpu_count() or 1) + 1)
        with tempfile.TemporaryDirectory(prefix="sam3-bench-") as folder:
            grown.append(processes(counts, asked.seconds, Path(folder)))
    tell(_growth(grown))
    rates: dict[str, labelling.Rate] = {}
    if not asked.small:
        folders = labelling.parse([])
        rates, memory = labelling.measure(folders)
        tell(labelling.texts(rates, memory, folders))
    if not asked.small:
        tell(video.texts(video.parse([])))
        torch.set_num_threads(threads)
    full: full_size.Rows = []
    tell(full_size.section(TINY if asked.small else SAM3, full))
    device = _device(asked)
    tell(_device_text(device))
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "bench.md").write_text("\n\n".join(parts) + "\n")
    written = {
        "machine": machine.as_dict(),
        "threads": threads,
        "rows": [{**asdict(row), "ratio": row.ratio} for row in [*rows, *masks]],
        "labelling": {name: asdict(one) for name, one in rates.items()},
        "growth": [{**asdict(one), "exponent": one.exponent} for one in grown],
        "full size on a CPU": full,
        "device": asdict(device) if device else "not measured: no GPU",
    }
    (asked.out / "bench.json").write_text(json.dumps(written, indent=1))
    return 0


def _device(asked: argparse.Namespace) -> DeviceFigures | None:
    if torch.cuda.is_available():
        return device_figures(SAM3, device="cuda", dtype="bfloat16", seconds=asked.seconds)
    if asked.small:  # so that tests run this code without a GPU
        device_figures(
            TINY, device="cpu", dtype="float32", batches=(1, 2), compiled=(False,), matrix=64, seconds=0.1
        )
    return None


def _rows(title: str, rows: Sequence[Row]) -> Iterator[str]:
    yield f"## {title}: ours and the package's own path"
    cells = [
        (
            row.task,
            row.ours,
            row.theirs or row.why_not,
            f"{row.ratio:.1f}x" if row.ratio else "",
            ms(row.ours.cpu),
            ms(row.theirs.cpu) if row.theirs else "",
        )
        for row in rows
    ]
    yield table(("", "ours", "sam3 package", "faster", "ours, CPU", "package, CPU"), cells)


def _growth(grown: Sequence[Growth]) -> Iterator[str]:
    yield "## Growth"
    cells = [
        (
            one.what,
            one.unit,
            ", ".join(f"{size:g}: {ms(cost)}" for size, cost in zip(one.sizes, one.costs, strict=True)),
            f"{one.exponent:.2f}",
        )
        for one in grown
    ]
    yield table(("cost of", "against", "", "exponent"), cells)


def _device_text(found: DeviceFigures | None) -> Iterator[str]:
    yield "## The full-size model on a GPU"
    if found is None:
        yield "Not measured: this machine has no GPU."
        return
    yield (
        f"Random weights, {found.dtype} on {found.device}. Matrices multiply at {found.matmul_tflops:.0f} TFLOP/s; the "
        f"package's path encodes {found.official_images_per_s:.1f} images/s."
    )
    cells = [
        (
            "yes" if row.compiled else "no",
            row.images,
            f"{row.images_per_s:.1f}",
            f"{row.images_per_s / found.official_images_per_s:.1f}x",
            f"{row.tflops:.0f}",
            f"{row.fraction:.0%}",
            f"{row.memory_gib:.1f}" if row.memory_gib is not None else "",
        )
        for row in found.batches
    ]
    head = ("compiled", "batch", "images/s", "the package", "TFLOP/s", "of matmul", "GiB")
    yield table(head, cells)


if __name__ == "__main__":
    sys.exit(main())
