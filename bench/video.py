"""Tracking beside encoding alone, in turns, and memory over many frames: `python -m bench.video`.

One process and one thread, the engine alone: no file is decoded. A frame is an encode and a step of all objects. The
states are those of the 20th frame, when an object attends to as many memories as it ever does.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import psutil
import torch

from bench.timing import Cost, side_by_side
from harness.figures import ms, table
from harness.machine import this_machine
from sam3_engine.engine import Engine
from sam3_engine.tracking.sessions import NewObject, Session, Turn, advance
from sam3_engine.types import ImageSize, Point, VisualPrompt

OBJECTS = (1, 4, 16)
SETTLED = 20
"""Frames after which the memories are full."""
Square = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Memory:
    """Of a session of `objects` objects. frames: tracked; early, late: MiB of the process after SETTLED frames and
    after all; state: bytes of the session."""

    objects: int
    frames: int
    early: float
    late: float
    state: int


def speeds(engine: Engine, seconds: float, objects: Sequence[int] = OBJECTS) -> dict[str, Cost]:
    """The cost of encoding a frame, and of encoding it and finding objects in it."""
    squares = _frames(engine)
    turns = {count: _settled(engine, squares, count) for count in objects}

    def frame(count: int) -> None:
        session, size = turns[count]
        features = engine.expand(engine.encode(squares[:1])[0])
        advance(engine, [Turn(session, features, size, session.frame + 1)])

    calls: dict[str, Callable[[], object]] = {"encode": lambda: engine.expand(engine.encode(squares[:1])[0])}
    for count in objects:
        calls[f"{count}"] = partial(frame, count)
    return side_by_side(calls, seconds)


def memory(engine: Engine, frames: int, objects: int = 4) -> Memory:
    """The process's memory while a session goes on and on."""
    squares = _frames(engine)
    features = [engine.expand(embedding) for embedding in engine.encode(squares)]
    session, size = _settled(engine, squares, objects)
    process = psutil.Process()
    early = process.memory_info().rss
    for number in range(frames):
        turn = Turn(session, features[number % len(features)], size, session.frame + 1)
        session = advance(engine, [turn])[0].session
    late = process.memory_info().rss
    return Memory(objects, frames, early / 2**20, late / 2**20, session.nbytes)


def _frames(engine: Engine) -> list[Square]:
    side = engine.spec.image_size
    rng = np.random.default_rng(0)
    return [rng.integers(0, 255, (side, side, 3), dtype=np.uint8) for _ in range(4)]


def _settled(engine: Engine, squares: list[Square], objects: int) -> tuple[Session, ImageSize]:
    side = engine.spec.image_size
    size = ImageSize(side, side)
    places = np.random.default_rng(1).uniform(0, side, (objects, 2))
    new = [NewObject(VisualPrompt((Point(float(x), float(y)),))) for x, y in places]
    features = engine.expand(engine.encode(squares[:1])[0])
    session = Session()
    for number in range(SETTLED):
        turn = Turn(session, features, size, number, new if number == 0 else [])
        session = advance(engine, [turn])[0].session
    return session, size


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--frames", type=int, default=3000, help="of the measurement of memory")
    args = parser.parse_args()
    torch.set_num_threads(1)
    engine = Engine.load("tiny", device="cpu", video=True)
    costs = speeds(engine, args.seconds)
    print(f"{this_machine().line()}, tiny, 1 torch thread\n")
    encode = costs["encode"]
    rows = [
        (name, ms(cost.wall), f"{1 / cost.wall:.1f}", ms(cost.cpu), f"{encode.cpu / cost.cpu:.2f}")
        for name, cost in costs.items()
    ]
    print(table(("objects", "a frame", "frames/s", "CPU", "of encoding's rate, by CPU"), rows), flush=True)
    found = memory(engine, args.frames)
    print(
        f"\n{found.objects} objects over {found.frames} frames: {found.early:.0f} MiB, then {found.late:.0f} MiB; "
        f"the session holds {found.state / 1e3:.0f} KB"
    )


if __name__ == "__main__":
    main()
