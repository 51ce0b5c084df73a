"""Following objects beside encoding alone, in turns, and memory over many frames.

One process and one thread, the engine alone: no file is decoded. A frame is an encode and a step of all objects.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import psutil
from torch.utils.flop_counter import FlopCounterMode

from bench.device import encode_flops
from bench.timing import Cost, side_by_side
from bench.video.drawn import SETTLED, frames_of, settled
from harness.transformers_video import TransformersVideo
from sam3_engine.engine import Engine
from sam3_engine.tracking.sessions import Turn, advance

OBJECTS = (1, 4, 16)


@dataclass(frozen=True, slots=True)
class Memory:
    """Of a session of `objects` objects. frames: tracked; early, late: MiB of the process after SETTLED frames and
    after all; early_state, state: bytes of the session."""

    objects: int
    frames: int
    early: float
    late: float
    early_state: int
    state: int


def speeds(
    engine: Engine, seconds: float, objects: Sequence[int] = OBJECTS, peer: Sequence[int] = ()
) -> dict[str, Cost]:
    """The cost of encoding a frame, "encode", and of encoding it and finding objects in it, by their number.

    peer: numbers of objects that transformers follows, too, in the same turns: "transformers encode", and
    "transformers 4".
    """
    squares = frames_of(engine)
    turns = {count: settled(engine, squares, count) for count in objects}

    def frame(count: int) -> None:
        session, size = turns[count]
        features = engine.expand(engine.encode(squares[:1])[0])
        advance(engine, [Turn(session, features, size, session.frame + 1)])

    calls: dict[str, Callable[[], object]] = {"encode": lambda: engine.expand(engine.encode(squares[:1])[0])}
    for count in objects:
        calls[f"{count}"] = partial(frame, count)
    theirs = {count: TransformersVideo(count) for count in peer}
    for count, video in theirs.items():
        for _ in range(SETTLED):
            video.follow(squares[0])
        calls["transformers encode"] = partial(video.encode, squares[0])
        calls[f"transformers {count}"] = partial(video.follow, squares[0])
    return side_by_side(calls, seconds)


def arithmetic(engine: Engine, objects: Sequence[int] = OBJECTS) -> dict[str, float]:
    """Floating-point operations of the same calls, as torch counts them: products of matrices and convolutions."""
    squares = frames_of(engine)
    counted = {"encode": encode_flops(engine)}
    for count in objects:
        session, size = settled(engine, squares, count)
        features = engine.expand(engine.encode(squares[:1])[0])
        counter = FlopCounterMode(display=False)
        with counter:
            advance(engine, [Turn(session, features, size, session.frame + 1)])
        counted[f"{count}"] = counted["encode"] + counter.get_total_flops()
    return counted


def memory(engine: Engine, frames: int, objects: int = 4) -> Memory:
    """The process's memory while a session goes on and on."""
    squares = frames_of(engine)
    features = [engine.expand(embedding) for embedding in engine.encode(squares)]
    session, size = settled(engine, squares, objects)
    process, early_state = psutil.Process(), session.nbytes
    early = process.memory_info().rss
    for number in range(frames):
        turn = Turn(session, features[number % len(features)], size, session.frame + 1)
        session = advance(engine, [turn])[0].session
    late = process.memory_info().rss
    return Memory(objects, frames, early / 2**20, late / 2**20, early_state, session.nbytes)
