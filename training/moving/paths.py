"""How shapes and cameras move: smooth curves through random places, at any speed."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Curve = npt.NDArray[np.float64]
"""float [T, D], a value for each frame."""


@dataclass(frozen=True, slots=True)
class Motion:
    """One shape's way. at: [T, 2] centre (x, y) in shares of the frame's side, which may lie outside 0..1; turn: [T]
    angle; grow: [T] factor of its size."""

    at: Curve
    turn: npt.NDArray[np.float64]
    grow: npt.NDArray[np.float64]


def motion(frames: int, radius: float, rng: np.random.Generator) -> Motion:
    """A random way in the frame, of which some lead out of it and back, some stand still. radius: a share of the
    frame's side; the way begins with the shape in the frame."""
    seconds = frames / 12
    inside = np.clip(rng.uniform(radius, 1 - radius, 2), radius, 1 - radius)
    kind = rng.random()
    if kind < 0.12:
        at = np.repeat(inside[None], frames, axis=0)
    elif kind < 0.3:  # out of the frame and back
        way = rng.uniform(0, 2 * np.pi)
        far = 0.5 + radius * 1.3 + rng.uniform(0, 0.2)
        outside = 0.5 + far * np.array([np.cos(way), np.sin(way)]) * 1.1
        at = through(np.array([inside, outside, rng.uniform(radius, 1 - radius, 2)]), frames)
    else:
        places = max(2, round(rng.uniform(0.5, 2.5) * seconds) + 1)
        at = through(np.concatenate([[inside], rng.uniform(-0.02, 1.02, (places, 2))]), frames)
    turn = np.cumsum(np.full(frames, rng.normal(0, 0.06)) if rng.random() < 0.6 else np.zeros(frames))
    grow = np.exp(through(rng.normal(0, 0.22, (max(2, round(seconds) + 1), 1)), frames)[:, 0])
    return Motion(at, turn, grow / grow[0])


def meeting(way: Motion, other: Motion, reach: float, frame: int, rng: np.random.Generator) -> Motion:
    """A way with the turns and sizes of `way` that meets `other` in a frame, and then goes on.

    reach: how far apart the two are in the first frame, a share of the frame's side. Their centres miss one another by
    a third of it at most. Of the two opposite sides of `other`, the way begins on the one nearer to the middle.
    """
    angle = rng.uniform(0, 2 * np.pi)
    towards = reach * np.array([np.cos(angle), np.sin(angle)])
    beginning, mirrored = other.at[0] + towards, other.at[0] - towards
    if np.abs(mirrored - 0.5).max() < np.abs(beginning - 0.5).max():
        towards = -towards
    missed = np.array([-towards[1], towards[0]]) * rng.uniform(-1 / 3, 1 / 3)
    left = 1 - np.arange(len(other.at))[:, None] / frame
    return Motion(other.at + left * towards + missed, way.turn, way.grow)


def shake(frames: int, rng: np.random.Generator) -> Curve:
    """Where the camera points, [T, 2] in shares of the frame's side: still, drifting, or held by a hand."""
    if rng.random() < 0.4:
        return np.zeros((frames, 2))
    drift = through(rng.normal(0, 0.06, (max(2, frames // 8), 2)), frames)
    return drift + rng.normal(0, rng.choice([0.0, 0.004, 0.012]), (frames, 2))


def through(places: Curve, frames: int) -> Curve:
    """A smooth curve through places [N, D], from the first to the last in all frames (Catmull-Rom)."""
    padded = np.concatenate([places[:1], places, places[-1:]])
    along = np.linspace(0, len(places) - 1 - 1e-9, frames)
    number = along.astype(int)
    t = (along - number)[:, None]
    a, b, c, d = (padded[number + step] for step in range(4))
    return np.asarray(
        0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    )
