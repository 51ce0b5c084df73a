"""Outlines of shapes as rulers, stamps and hands draw them."""

from typing import Any

import numpy as np
import numpy.typing as npt

Outline = npt.NDArray[np.floating[Any]]
"""float [N, 2] corners (x, y)."""


def outline(shape: str, rng: np.random.Generator) -> Outline:
    """An outline that reaches the unit circle and does not leave it."""
    corners = _CORNERS[shape](rng)
    if shape != "circle":
        if rng.random() < 0.35:
            corners = corners + rng.normal(0, 0.03, corners.shape)
        if rng.random() < 0.4:
            corners = _rounded(corners, rng.uniform(0.05, 0.32 if shape == "square" else 0.24))
    if rng.random() < 0.3:
        corners = _by_hand(corners, rng)
    corners = _turned(corners, _angle(rng))
    middle = (corners.max(axis=0) + corners.min(axis=0)) / 2
    return (corners - middle) / np.linalg.norm(corners - middle, axis=1).max()


def _angle(rng: np.random.Generator) -> float:
    """People draw most shapes upright."""
    return float(rng.normal(0, 0.08) if rng.random() < 0.45 else rng.uniform(0, 2 * np.pi))


def _on_circle(turns: npt.NDArray[np.floating[Any]]) -> Outline:
    return np.stack([np.sin(turns), -np.cos(turns)], axis=1)


def _circle(rng: np.random.Generator) -> Outline:
    flat = 1.0 if rng.random() < 0.5 else rng.uniform(0.83, 1.2)
    return _on_circle(np.linspace(0, 2 * np.pi, 64, endpoint=False)) * [flat, 1.0]


def _square(rng: np.random.Generator) -> Outline:
    flat = 1.0 if rng.random() < 0.5 else rng.uniform(0.8, 1.25)
    skew = 0.0 if rng.random() < 0.7 else rng.uniform(-0.15, 0.15)
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [flat, 1.0]
    return corners + corners[:, ::-1] * [skew, 0.0]


def _triangle(rng: np.random.Generator) -> Outline:
    kind = rng.random()
    arcs: npt.NDArray[np.float64]
    if kind < 0.4:
        arcs = np.full(3, 1 / 3)
    elif kind < 0.7:
        apex = rng.uniform(0.2, 0.5)
        arcs = np.array([(1 - apex) / 2, apex, (1 - apex) / 2])
    else:
        # An angle of a triangle is half of the arc across it: no angle is below 32 degrees.
        arcs = 0.18 + rng.dirichlet([2, 2, 2]) * (1 - 3 * 0.18)
    return _on_circle(np.cumsum(arcs) * 2 * np.pi)


def _star(rng: np.random.Generator) -> Outline:
    points = int(rng.choice([4, 5, 6, 7, 8], p=[0.07, 0.73, 0.12, 0.04, 0.04]))
    inner = rng.uniform(0.28, 0.45) if points == 4 else rng.uniform(0.36, 0.56)
    radii = np.tile([1.0, inner], points)
    return _on_circle(np.arange(2 * points) * np.pi / points) * radii[:, None]


_CORNERS = {"circle": _circle, "square": _square, "triangle": _triangle, "star": _star}


def _rounded(corners: Outline, share: float) -> Outline:
    """Each corner cut at a share of its two sides and replaced by a quadratic curve."""
    before = corners + (np.roll(corners, 1, axis=0) - corners) * share
    after = corners + (np.roll(corners, -1, axis=0) - corners) * share
    steps = np.linspace(0, 1, 7)[None, :, None]
    curve = (
        before[:, None] * (1 - steps) ** 2
        + 2 * corners[:, None] * steps * (1 - steps)
        + after[:, None] * steps**2
    )
    return curve.reshape(-1, 2)


def _by_hand(corners: Outline, rng: np.random.Generator) -> Outline:
    """The outline as a hand draws it: slow waves along it, and a start that its end does not meet exactly."""
    dense = _dense(corners, 96)
    along = np.linspace(0, 2 * np.pi, len(dense), endpoint=False)
    size = rng.uniform(0.008, 0.03)
    waves = [
        np.sin(along * turns + rng.uniform(0, 2 * np.pi))[:, None] * rng.normal(0, 1, 2) / turns**0.5
        for turns in range(2, 10)
    ]
    gap = (along / (2 * np.pi))[:, None] * rng.normal(0, size, 2)
    return dense + size * np.sum(waves, axis=0) * 0.6 + gap


def _dense(corners: Outline, count: int) -> Outline:
    """About `count` points along the outline, its corners among them."""
    after = np.roll(corners, -1, axis=0)
    lengths = np.linalg.norm(after - corners, axis=1)
    pieces = np.maximum(1, np.round(count * lengths / lengths.sum()).astype(int))
    return np.concatenate(
        [
            start + (end - start) * np.linspace(0, 1, number, endpoint=False)[:, None]
            for start, end, number in zip(corners, after, pieces, strict=True)
        ]
    )


def _turned(corners: Outline, angle: float) -> Outline:
    sine, cosine = np.sin(angle), np.cos(angle)
    return corners @ np.array([[cosine, sine], [-sine, cosine]])
