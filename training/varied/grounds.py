"""Grounds: paper, walls, gradients, patterns and what a photograph out of focus looks like; and things on them."""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from sam3_engine.types import ImageSize
from training.varied.colours import rgb

Canvas = npt.NDArray[np.floating[Any]]
"""float [height, width, 3] RGB in 0..255."""


def ground(size: ImageSize, rng: np.random.Generator) -> Canvas:
    """A ground without shapes."""
    make = _GROUNDS[int(rng.choice(len(_GROUNDS), p=[0.26, 0.2, 0.14, 0.2, 0.1, 0.1]))]
    canvas = np.clip(make(size, rng), 0, 255).astype(np.float32)
    if rng.random() < 0.6:
        _clutter(canvas, rng)
    return canvas


def tone(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """A colour for things that are no shapes: white, grey or black, muted, or washed out."""
    kind = rng.random()
    if kind < 0.2:
        return np.clip(rng.uniform(238, 256) + rng.normal(0, 3, 3), 0, 255)
    if kind < 0.65:
        return np.clip(rng.uniform(15, 240) + rng.uniform(-24, 24, 3), 0, 255)
    return rgb(rng.uniform(0, 360), rng.uniform(0.1, 0.45), rng.uniform(0.2, 0.97))


def _ramp(size: ImageSize, rng: np.random.Generator) -> Canvas:
    """0 to 1 across the image in some direction, [height, width, 1]."""
    angle = rng.uniform(0, 2 * np.pi)
    x = np.linspace(-0.5, 0.5, size.width, dtype=np.float32)[None, :]
    y = np.linspace(-0.5, 0.5, size.height, dtype=np.float32)[:, None]
    ramp = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle)) + np.float32(0.5)
    return np.clip(ramp, 0, 1)[:, :, None]


def noise(size: ImageSize, cells: tuple[int, int], rng: np.random.Generator, channels: int = 1) -> Canvas:
    """Smooth noise of variance about 1 with a number of (rows, columns), [height, width, channels]."""
    small = rng.standard_normal((*cells, channels), dtype=np.float32)
    wide = cv2.resize(small, (size.width, size.height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(wide, np.float32).reshape(size.height, size.width, channels)


def _plain(size: ImageSize, rng: np.random.Generator) -> Canvas:
    return np.broadcast_to(tone(rng), (size.height, size.width, 3))


def _gradient(size: ImageSize, rng: np.random.Generator) -> Canvas:
    start, end = tone(rng), tone(rng)
    return start + (end - start) * rng.uniform(0.3, 1) * _ramp(size, rng)


def _patches(size: ImageSize, rng: np.random.Generator) -> Canvas:
    cells = int(rng.integers(4, 30))
    stretch = int(rng.choice([1, 1, 6]))
    spots = noise(size, (cells, max(2, cells // stretch)), rng, int(rng.choice([1, 3])))
    return _gradient(size, rng) + spots * rng.uniform(4, 20)


def _photograph(size: ImageSize, rng: np.random.Generator) -> Canvas:
    """Soft regions of a few tones with finer and finer detail on them."""
    weight = sum(noise(size, (cells, cells), rng) / cells**0.7 for cells in (3, 6, 12, 24, 60))
    share = 1 / (1 + np.exp(-3 * weight))
    first, second = tone(rng), tone(rng)
    canvas = first + (second - first) * share
    detail = noise(size, (int(rng.integers(40, 120)),) * 2, rng)
    return canvas + detail * rng.uniform(2, 14) + (_ramp(size, rng) - 0.5) * rng.uniform(-60, 60)


def _pattern(size: ImageSize, rng: np.random.Generator) -> Canvas:
    """Stripes, checks or ruled paper."""
    base, other = tone(rng), tone(rng)
    period = rng.uniform(8, 60)
    angle = rng.choice([0, np.pi / 2, rng.uniform(0, np.pi)])
    y, x = np.mgrid[0 : size.height, 0 : size.width].astype(np.float32)
    along = (x * np.cos(angle) + y * np.sin(angle)) / period
    across = (y * np.cos(angle) - x * np.sin(angle)) / period
    kind = rng.integers(0, 3)
    on: Canvas
    if kind == 0:
        on = np.sin(2 * np.pi * along) * 0.5 + 0.5
    elif kind == 1:
        on = ((np.floor(along) + np.floor(across)) % 2).astype(np.float32)
    else:
        thin = 1.5 / period
        on = ((along % 1 < thin) | (across % 1 < thin)).astype(np.float32)
    return base + (other - base) * rng.uniform(0.1, 0.55) * on[:, :, None]


def _lights(size: ImageSize, rng: np.random.Generator) -> Canvas:
    """Blobs out of focus."""
    small: Canvas = np.ascontiguousarray(np.broadcast_to(tone(rng), (48, 48, 3)), np.float32)
    for _ in range(int(rng.integers(3, 10))):
        spot = (int(rng.integers(0, 48)), int(rng.integers(0, 48)))
        cv2.circle(small, spot, int(rng.integers(3, 14)), tone(rng).tolist(), -1)
    small = np.asarray(cv2.GaussianBlur(small, (0, 0), rng.uniform(2.5, 7)), np.float32)
    return np.asarray(cv2.resize(small, (size.width, size.height), interpolation=cv2.INTER_CUBIC), np.float32)


_GROUNDS = (_plain, _gradient, _patches, _photograph, _pattern, _lights)


def _clutter(canvas: Canvas, rng: np.random.Generator) -> None:
    """Lines, arcs, crosses, letters, and muted bars and hexagons: none of them a shape that has a name."""
    height, width = canvas.shape[:2]
    unit = (height * width) ** 0.5
    for _ in range(int(rng.integers(1, 5))):
        at = (int(rng.uniform(0, width)), int(rng.uniform(0, height)))
        colour = tone(rng).tolist()
        thick = max(1, round(unit * rng.uniform(0.004, 0.014)))
        reach = unit * rng.uniform(0.03, 0.15)
        kind = rng.integers(0, 6)
        if kind == 0:
            end = (int(rng.uniform(0, width)), int(rng.uniform(0, height)))
            cv2.line(canvas, at, end, colour, thick, cv2.LINE_AA)
        elif kind == 1:
            axes = (int(reach), int(reach / 2) + 1)
            cv2.ellipse(
                canvas, at, axes, rng.uniform(0, 180), 0, rng.uniform(90, 290), colour, thick, cv2.LINE_AA
            )
        elif kind == 2:
            for turn in (0, np.pi / 2):
                side = reach * np.array([np.cos(turn), np.sin(turn)])
                start, end = np.array(at) - side, np.array(at) + side
                cv2.line(
                    canvas, start.astype(int).tolist(), end.astype(int).tolist(), colour, thick, cv2.LINE_AA
                )
        elif kind == 3:
            letters = "".join(rng.choice(list("ABEFHKLMNRTWZaeg2345"), int(rng.integers(1, 6))))
            scale = unit / 400 * rng.uniform(0.5, 1.8)
            cover = np.zeros((height, width, 1), np.uint8)  # OpenCV 5 writes into bytes alone
            cv2.putText(cover, letters, at, cv2.FONT_HERSHEY_SIMPLEX, scale, [255], thick, cv2.LINE_AA)
            canvas += (np.array(colour, canvas.dtype) - canvas) * (cover / np.float32(255))
        else:
            bar = kind == 4
            turns = rng.uniform(0, np.pi) + (
                np.array([-0.2, 0.2, np.pi - 0.2, np.pi + 0.2]) if bar else np.arange(6) * np.pi / 3
            )
            corners = np.stack([np.cos(turns), np.sin(turns)], 1) * reach * (1.0 if bar else 0.7) + at
            cv2.fillPoly(canvas, [np.round(corners).astype(np.int32)], colour, cv2.LINE_AA)
