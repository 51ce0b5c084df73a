"""Frames to follow objects in, and sessions with full memories.

The frames show sixteen discs apart from one another, of which each object is one: an object that the model doubts would
remember less, and cost less. The states are those of the 20th frame, when an object attends to as many memories as it
ever does.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from sam3_engine.engine import Engine
from sam3_engine.features import Features
from sam3_engine.tracking.passes import StartItem, start
from sam3_engine.tracking.sessions import NewObject, Session, Turn, advance
from sam3_engine.tracking.state import POINTERS, TrackState
from sam3_engine.types import ImageSize, Point, VisualPrompt

SETTLED = 20
"""Frames after which the memories are full."""
PLACES = [(x / 8, y / 8) for y in (1, 3, 5, 7) for x in (1, 3, 5, 7)]
"""Centres of the discs, as shares of the side."""
COLOURS = ((210, 40, 40), (40, 80, 200), (40, 160, 70))
Square = npt.NDArray[np.uint8]


def frames_of(engine: Engine) -> list[Square]:
    """Discs on grey paper, which shake."""
    side = engine.spec.image_size
    rng = np.random.default_rng(0)
    drawn = []
    for shift in rng.uniform(-0.004, 0.004, (4, 2)):
        x, y = ((np.arange(side) + 0.5) / side - offset for offset in shift)
        frame = rng.normal(170, 3, (side, side, 3))
        for place, (across, down) in enumerate(PLACES):
            inside = (x[None, :] - across) ** 2 + (y[:, None] - down) ** 2 < 0.07**2
            frame[inside] = COLOURS[place % len(COLOURS)]
        drawn.append(frame.clip(0, 255).astype(np.uint8))
    return drawn


def clicks(engine: Engine, objects: int) -> list[VisualPrompt]:
    """A click on each of so many discs."""
    side = engine.spec.image_size
    return [VisualPrompt((Point(side * x, side * y),)) for x, y in PLACES[:objects]]


def settled(engine: Engine, squares: list[Square], objects: int) -> tuple[Session, ImageSize]:
    """A session of so many objects after SETTLED frames, and the size of its frames."""
    side = engine.spec.image_size
    size = ImageSize(side, side)
    new = [NewObject(click) for click in clicks(engine, objects)]
    features = engine.expand(engine.encode(squares[:1])[0])
    session = Session()
    for number in range(SETTLED):
        turn = Turn(session, features, size, number, new if number == 0 else [])
        session = advance(engine, [turn])[0].session
    return session, size


def remembering(engine: Engine, features: Features, objects: int) -> list[TrackState]:
    """States of so many objects, up to sixteen, after SETTLED frames that all looked alike: as many memories as there
    ever are, with random weights too."""
    side = engine.spec.image_size
    item = StartItem(features, ImageSize(side, side), clicks(engine, objects))
    (begun,) = start(engine, [item])
    return [_full(one.state) for one in begun]


def _full(state: TrackState) -> TrackState:
    (memory,) = state.conditioning
    recent = [replace(memory, frame=SETTLED - since) for since in range(POINTERS, 0, -1)]
    recent[: -state.memories] = [one.without_features() for one in recent[: -state.memories]]
    return replace(state, frame=SETTLED - 1, recent=tuple(recent))
