"""Paints one shape: its fill, edge and shadow, and which pixels it covers."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from training.varied.colours import Colour
from training.varied.grounds import Canvas
from training.varied.outlines import Outline

_BITS = 4
"""Fractional bits of OpenCV's coordinates."""
Alpha = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Pen:
    """How a shape is painted. Lengths in pixels; edge: width of its stroke, 0 for none."""

    fill: Colour
    hollow: bool
    edge: float
    ink: Colour
    shadow: float
    shading: float
    grain: float


def pen(fill: Colour, radius: float, rng: np.random.Generator) -> Pen:
    """A random way to paint a shape of a radius in pixels."""
    hollow = rng.random() < 0.06 and radius > 18
    edge, ink = 0.0, fill
    if hollow:
        edge = radius * rng.uniform(0.22, 0.4)
    elif rng.random() < 0.35:
        edge = max(1.0, radius * rng.uniform(0.02, 0.13))
        dark = fill * rng.uniform(0.3, 0.75)
        ink = [dark, dark, np.full(3, rng.uniform(0, 50)), np.full(3, rng.uniform(225, 255))][
            rng.integers(0, 4)
        ]
    return Pen(
        fill,
        hollow,
        edge,
        ink,
        shadow=rng.uniform(0.2, 0.65) if rng.random() < 0.25 else 0.0,
        shading=rng.uniform(0.08, 0.35) if rng.random() < 0.35 else 0.0,
        grain=rng.uniform(0.02, 0.14) if rng.random() < 0.3 else 0.0,
    )


@dataclass(frozen=True, slots=True)
class Place:
    """The part of a canvas that a shape touches, its shadow included. corner: (x, y) of the part's first pixel."""

    part: tuple[slice, slice]
    corner: npt.NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, int]:
        rows, columns = self.part
        return rows.stop - rows.start, columns.stop - columns.start


def around(outline: Outline, how: Pen, canvas: tuple[int, ...]) -> Place:
    """Where on a canvas of (height, width) an outline lies."""
    pad = int(how.edge) + 3 + (int(np.ptp(outline, axis=0).max() * 0.3) if how.shadow else 0)
    low = np.maximum(np.floor(outline.min(axis=0)).astype(np.int64) - pad, 0)
    high = np.minimum(np.ceil(outline.max(axis=0)).astype(np.int64) + pad, [canvas[1], canvas[0]])
    return Place((slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))), low)


def alpha(outline: Outline, how: Pen, shape: tuple[int, int]) -> Alpha:
    """What the shape covers, edge included: uint8 [height, width], 255 where wholly."""
    cover = np.zeros(shape, np.uint8)
    if not how.hollow:
        cv2.fillPoly(cover, [_fixed(outline)], 255, cv2.LINE_AA, _BITS)
    return np.maximum(cover, _stroke(outline, how, shape)) if how.edge else cover


def paint(place: Canvas, outline: Outline, how: Pen, cover: Alpha, rng: np.random.Generator) -> None:
    """Paint the shape onto a part of the canvas, in place. cover: its `alpha`."""
    radius = float(np.ptp(outline, axis=0).max()) / 2
    share: Canvas = cover.astype(np.float32)[:, :, None] / 255
    if how.shadow:
        _shade_ground(place, share, how.shadow, radius, rng)
    layer: Canvas = np.broadcast_to(how.fill.astype(np.float32), place.shape)
    if how.shading or how.grain:
        layer = layer * _light(cover.shape, outline, how, radius, rng)
    if how.edge and not how.hollow:
        stroke = _stroke(outline, how, cover.shape).astype(np.float32)[:, :, None] / 255
        layer = layer + (how.ink.astype(np.float32) - layer) * stroke
    place += (layer - place) * share


def _light(
    shape: tuple[int, ...], outline: Outline, how: Pen, radius: float, rng: np.random.Generator
) -> Canvas:
    """Brightness inside the shape, about 1: a gradient or a highlight, and the grain of crayons or paper."""
    light = np.ones((*shape, 1), np.float32)
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    if how.shading:
        spot = outline.mean(axis=0) + rng.normal(0, 0.4, 2) * radius
        if rng.random() < 0.5:
            fall = np.hypot(x - spot[0], y - spot[1]) / radius
        else:
            turn = rng.uniform(0, 2 * np.pi)
            fall = ((x - spot[0]) * np.cos(turn) + (y - spot[1]) * np.sin(turn)) / radius
        light *= (1 - how.shading * np.clip(fall, -1, 1.6))[:, :, None].astype(np.float32)
    if how.grain:
        if rng.random() < 0.5:
            turn, period = rng.uniform(0, np.pi), rng.uniform(2.5, 9)
            wave = np.sin((x * np.cos(turn) + y * np.sin(turn)) * 2 * np.pi / period)
        else:
            wave = rng.standard_normal(shape, dtype=np.float32)
            wave = cv2.GaussianBlur(wave, (0, 0), rng.uniform(0.5, 1.6)) * 1.6
        light *= (1 + how.grain * wave)[:, :, None].astype(np.float32)
    return np.clip(light, 0.45, 1.35)


def _shade_ground(
    place: Canvas, share: Canvas, strength: float, radius: float, rng: np.random.Generator
) -> None:
    step = rng.uniform(-0.18, 0.18, 2) * radius
    moved = cv2.warpAffine(share[:, :, 0], np.array([[1, 0, step[0]], [0, 1, step[1]]]), share.shape[1::-1])
    soft = cv2.GaussianBlur(moved, (0, 0), radius * rng.uniform(0.03, 0.15) + 0.5)
    place *= 1 - np.float32(strength) * soft[:, :, None]


def _stroke(outline: Outline, how: Pen, shape: tuple[int, ...]) -> Alpha:
    line = np.zeros(shape, np.uint8)
    cv2.polylines(line, [_fixed(outline)], True, 255, max(1, round(how.edge)), cv2.LINE_AA, _BITS)
    return line


def _fixed(outline: Outline) -> npt.NDArray[np.int32]:
    # Pixel centres are at integers in OpenCV and at half-integers here.
    return np.round((outline - 0.5) * (1 << _BITS)).astype(np.int32)
