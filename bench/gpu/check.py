"""The check of the engine on one GPU: `make gpu-check`.

Answers against the CPU's, CUDA graphs against single kernels, waits for the device, speed beside the package, objects
that are followed, a profile of one batch, and the service over HTTP where Ray is installed. The report is written anew
after each part, so that a check that is cut off leaves what it found. Beside torch it needs the packages that the
engine imports, and no server.
"""

import argparse
import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from bench.gpu import float8, memory, profiling, right, speed, tracking, trunk
from bench.gpu.right import Verdict
from bench.gpu.setting import Machine, Setting, machine, setting
from bench.gpu.speed import Figure, Roofline
from harness.figures import ms, table
from sam3_engine.spec import TINY

ROOT = Path(__file__).parents[2]

COUNTS = (1, 4, 16)
COMPILED = (1, 8)
"""Batches of the compiled trunk: each costs compiling both kinds of block."""
SCENES = 60
"""Scenes on which a GPU compares the trunk's answers; a CPU compares two."""


@dataclass
class Report:
    """The findings so far."""

    machine: Machine
    model: str
    verdicts: list[Verdict] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    profiles: dict[str, str] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    took: dict[str, float] = field(default_factory=dict)

    @property
    def held(self) -> bool:
        return not self.errors and all(verdict.held for verdict in self.verdicts)

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "gpu.md").write_text(self.text())
        content = asdict(self) | {
            "held": self.held,
            "figures": [{**asdict(one), "per_s": one.rate} for one in self.figures],
        }
        (folder / "gpu.json").write_text(json.dumps(content, indent=1))

    def text(self) -> str:
        versions = ", ".join(f"{name} {number}" for name, number in self.machine.versions.items())
        memory = f", {self.machine.memory_gib:.0f} GiB" if self.machine.memory_gib else ""
        parts = [
            f"# {self.machine.device}: {'all checks held' if self.held else 'NOT all checks held'}",
            f"{self.machine.date}, {self.machine.device}{memory}, {self.machine.processor}, Python "
            f"{self.machine.python}, {versions}, commit {self.machine.commit}. Model {self.model}, "
            "random weights where not said otherwise; figures are medians.",
            table(
                ("check", "held", ""), [(v.what, "yes" if v.held else "NO", v.figures) for v in self.verdicts]
            ),
            table(
                ("measured", "batch", "one call", "per second", "of matmul", "workspace GiB"),
                [
                    (
                        one.what,
                        one.batch,
                        ms(one.seconds),
                        f"{one.rate:.1f}",
                        f"{one.fraction:.0%}" if one.fraction is not None else "",
                        f"{one.gib:.2f}" if one.gib is not None else "",
                    )
                    for one in self.figures
                ],
            ),
        ]
        for what, profile in self.profiles.items():
            parts += [f"## By kernel: {what}", profile]
        if self.errors:
            parts += ["## Errors", *(f"```\n{error}```" for error in self.errors)]
        if self.left_out:
            parts += ["## Left out", *(f"- {reason}" for reason in self.left_out)]
        parts.append(", ".join(f"{part} {seconds:.0f} s" for part, seconds in self.took.items()))
        return "\n\n".join(parts) + "\n"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--model", default="sam3", help="of the measurements: sam3 or tiny")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each measurement")
    parser.add_argument("--minutes", type=float, default=8.0, help="no part is begun later")
    parser.add_argument(
        "--only", nargs="+", metavar="PART", help="these parts, by the first words of their names"
    )
    parser.add_argument("--out", type=Path, default=Path("reports"))
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Check, measure, write; 1 where a check did not hold."""
    options = parse(arguments)
    asked = setting(options.device, options.model, options.seconds)
    end = time.monotonic() + 60 * options.minutes
    report = Report(machine(asked), asked.spec.name)
    for name, part in parts(asked, report).items():
        if options.only and not name.startswith(tuple(options.only)):
            continue
        if time.monotonic() > end:
            report.left_out.append(f"{name}: no time left")
            continue
        print(f"{name} ...", file=sys.stderr, flush=True)
        started = time.monotonic()
        try:
            part()
        except Exception:
            report.errors.append(f"{name}\n{traceback.format_exc()}")
            print(report.errors[-1], file=sys.stderr, flush=True)
        report.took[name] = time.monotonic() - started
        report.write(options.out)
        if asked.on_gpu:
            torch.cuda.empty_cache()
    report.write(options.out)
    print(report.text())
    return 0 if report.held else 1


def parts(asked: Setting, report: Report) -> dict[str, Callable[[], None]]:
    """The parts in order: the most telling first, in case that time runs out."""

    def check(run: Callable[[], Iterable[Verdict]]) -> Callable[[], None]:
        return lambda: report.verdicts.extend(run())  # an error keeps what was found before it

    def measure(run: Callable[[], Iterable[Figure]]) -> Callable[[], None]:
        return lambda: report.figures.extend(run())

    roofs: list[Roofline] = []

    def roof() -> Roofline:
        if not roofs:
            roofs.append(speed.roofline(asked))
        return roofs[0]

    def load() -> Iterable[Figure]:
        started = time.monotonic()
        asked.engine()
        held = torch.cuda.memory_allocated(asked.device) / 2**30 if asked.on_gpu else None
        yield Figure(
            "random weights made and loaded, the whole model", 1, time.monotonic() - started, gib=held
        )
        side = speed.matrix_side(asked)
        yield Figure(f"matrix product of {side}", 1, 2 * side**3 / roof().rate, 1.0)

    def prompts() -> Iterable[Figure]:
        if asked.on_gpu:
            yield from speed.prompts(asked, (1, 4), "single kernels: ")
        yield speed.warm_up(asked, max(COUNTS) if asked.on_gpu else 1)
        yield from speed.prompts(asked, COUNTS)

    def profile() -> None:
        report.profiles |= profiling.batches(asked, max(COUNTS))

    def compiled() -> Iterable[Figure]:
        at_once = roof()
        yield from speed.encodes(asked, at_once, COMPILED, compiled=True)
        yield from speed.graphed_encodes(asked, at_once, "compiled, ")
        for count in COMPILED:
            report.profiles |= profiling.encode(asked, count, "a compiled encode")

    found: dict[str, Callable[[], None]] = {
        "graphs": check(lambda: right.with_graphs_as_without(asked)),
        "encode graphs": check(lambda: right.encodes_with_graphs_as_without(asked)),
        "waits": check(lambda: right.without_waiting(asked)),
        "threads": check(lambda: right.in_several_threads(asked)),
        "bundled weights against the CPU": check(lambda: right.as_on_the_cpu(asked, TINY, trained=True)),
        "load": measure(load),
        "encodes": measure(lambda: speed.encodes(asked, roof(), speed.batches(asked))),
        "graphed encodes": measure(lambda: speed.graphed_encodes(asked, roof())),
        "trunk agrees": check(lambda: trunk.agrees(asked, SCENES if asked.on_gpu else 2)),
        "prompts": measure(prompts),
        "tracking agrees": check(lambda: tracking.as_on_the_cpu(asked)),
        "tracking": measure(lambda: tracking.takes(asked, COUNTS)),
        "profile": profile,
        "trunk takes": measure(lambda: trunk.takes(asked, COMPILED if asked.on_gpu else (1,), roof())),
        "float8": check(lambda: float8.agrees(asked, SCENES if asked.on_gpu else 2)),
        "float8 takes": measure(lambda: float8.takes(asked, COMPILED, roof())),
        "package": measure(lambda: speed.package(asked, roof())),
        "memory": check(lambda: memory.where_memory_is_short(asked)),
        "compiled": measure(compiled),
        "random weights against the CPU": check(
            lambda: right.as_on_the_cpu(asked, asked.spec, trained=False)
        ),
        "marked tests": check(lambda: marked_tests(report)),
        "service": measure(lambda: served(report)),
    }
    if not asked.on_gpu:
        for name in ("graphed encodes", "float8 takes", "memory", "compiled", "marked tests", "service"):
            del found[name]
            report.left_out.append(f"{name}: on a GPU alone")
    return found


def marked_tests(report: Report, root: Path = ROOT) -> list[Verdict]:
    """The unit tests marked `gpu`, without the project's plugins for pytest, which the machine need not have."""
    if importlib.util.find_spec("pytest") is None:
        report.left_out.append("marked tests: pytest is not installed")
        return []
    files = [str(one) for one in (root / "tests/unit").rglob("test_*.py") if "mark.gpu" in one.read_text()]
    bare = [
        "-c",
        os.devnull,
        "--noconftest",
        f"--rootdir={root}",
        "--import-mode=importlib",
        "-p",
        "no:cacheprovider",
    ]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *bare, "-q", "-m", "gpu", *files], capture_output=True, text=True
    )
    if run.returncode:
        report.errors.append(run.stdout[-3000:])
    last = (run.stdout.strip().splitlines() or ["no output"])[-1]
    return [Verdict("the tests marked gpu", run.returncode == 0, last.strip("= "))]


def served(report: Report) -> list[Figure]:
    """The service with the bundled model on the GPU: medians of a click and a concept over HTTP."""
    if importlib.util.find_spec("ray") is None:
        report.left_out.append("service: Ray is not installed")
        return []
    from bench.gpu.service import over_http

    return over_http()


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())
