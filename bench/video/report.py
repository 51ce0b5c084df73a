"""Tracking beside encoding alone, beside transformers, served, and over many frames: `python -m bench.video`.

One torch thread. A frame is an encode and a step of all objects; no file is decoded, except where a server is measured.
"""

import argparse
import importlib.util
from collections.abc import Iterator, Sequence

import torch

from bench.timing import Cost
from bench.video.full_size import full_size
from bench.video.served import Served, served
from bench.video.speed import Memory, arithmetic, memory, speeds
from harness.figures import ms, table
from harness.machine import this_machine
from sam3_engine.engine import Engine

PEER = (1, 4)
GOAL = 0.6


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="of the turns of encoding and following")
    parser.add_argument("--frames", type=int, default=10_000, help="of the measurement of memory; 0: none")
    parser.add_argument("--turns", type=int, default=3, help="of a server and of one process; 0: none")
    parser.add_argument("--full-size", type=int, default=0, metavar="FRAMES", help="minutes for each frame")
    return parser.parse_args(arguments)


def texts(asked: argparse.Namespace) -> Iterator[str]:
    """The parts of the report, each when it is measured. Leaves torch with one thread."""
    torch.set_num_threads(1)
    engine = Engine.load("tiny", device="cpu", video=True)
    yield "## Following objects, `tiny`, 1 torch thread"
    known = importlib.util.find_spec("transformers") is not None
    costs = speeds(engine, asked.seconds, peer=PEER if known else ())
    yield _speeds(costs, arithmetic(engine))
    if not known:
        yield "transformers is not installed, so its `Sam3VideoModel` was not measured (`pip install .[test]`)."
    if asked.turns:
        yield _served(served(engine, frames=50, turns=asked.turns))
    if asked.frames:
        yield _memory(memory(engine, asked.frames, objects=1))
    if asked.full_size:
        yield _full_size(asked.full_size)


def _speeds(costs: dict[str, Cost], operations: dict[str, float]) -> str:
    encode = costs["encode"]
    rows = []
    for name, cost in costs.items():
        own = operations.get(name)
        theirs = costs.get(f"transformers {name}")
        rows.append(
            (
                name,
                ms(cost.wall),
                f"{1 / cost.wall:.1f}",
                ms(cost.cpu),
                f"{encode.wall / cost.wall:.2f} ({encode.cpu / cost.cpu:.2f})" if own else "",
                f"{own / 1e9:.2f}" if own else "",
                f"{operations['encode'] / own:.2f}" if own else "",
                f"{theirs.wall / cost.wall:.1f} ({theirs.cpu / cost.cpu:.1f})" if theirs else "",
            )
        )
    head = (
        "objects",
        "a frame",
        "frames/s",
        "CPU",
        "of encoding's rate (by CPU)",
        "GFLOP",
        "by arithmetic",
        "as fast as transformers (by CPU)",
    )
    return f"{table(head, rows)}\n\nGoal for four objects: {GOAL} of encoding's rate."


def _served(found: Served) -> str:
    rows = [("one process, no server", f"{found.alone:.1f}", "", ms(found.cpu["alone"]))]
    for count, rate in found.rates.items():
        rows.append(
            (f"{count} at once", f"{rate:.1f}", f"{rate / found.alone:.2f}", ms(found.cpu[f"{count}"]))
        )
    return (
        f"{table(('sessions of three objects', 'frames/s in all', 'of one process', 'CPU a frame'), rows)}\n\n"
        f"A decoder on a CPU holds the states of {found.held} such sessions; others' are in the object store."
    )


def _memory(found: Memory) -> str:
    return (
        f"{found.objects} object over {found.frames} frames: the session held {found.early_state / 1e3:.1f} KB, then "
        f"{found.state / 1e3:.1f} KB; the process {found.early:.0f} MiB, then {found.late:.0f} MiB."
    )


def _full_size(rounds: int) -> str:
    costs, operations = full_size(4, rounds)
    encode, step = costs["encode"], costs["step"]
    rows = [
        (name, f"{cost.wall:.1f} s", f"{cost.cpu:.1f} s", f"{operations[name] / 1e12:.2f}")
        for name, cost in costs.items()
    ]
    by_arithmetic = operations["encode"] / sum(operations.values())
    return (
        f"{table(('full size, random weights, 4 objects', 'wall', 'CPU', 'TFLOP'), rows)}\n\n"
        f"Four objects at full size: {encode.wall / (encode.wall + step.wall):.2f} of encoding's rate, by CPU "
        f"{encode.cpu / (encode.cpu + step.cpu):.2f}, by arithmetic {by_arithmetic:.2f}."
    )


def main() -> None:
    """Measure and print."""
    asked = parse()
    print(f"{this_machine().line()}\n", flush=True)
    for text in texts(asked):
        print(text, end="\n\n", flush=True)
