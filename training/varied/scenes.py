"""Whole scenes: up to 12 shapes of any size from 4 to 30 % of the image's side, apart or covering each other."""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from sam3_engine.types import ImageSize
from training.concepts import COLOURS, NO_COLOUR, SHAPES
from training.labelled import GROUND, Drawing, Mask, drawing
from training.varied.camera import photographed
from training.varied.colours import Colour, distance, shade
from training.varied.grounds import Canvas, ground
from training.varied.outlines import outline
from training.varied.paint import Alpha, Pen, Place, alpha, around, paint, pen

SMALLEST, LARGEST = 0.04, 0.30
"""Radius of a shape as a share of the image's side (the root of its area)."""
VISIBLE = 0.62
"""Share of each shape that later ones leave visible, at least."""
CONTRAST = 90.0
"""Distance of a shape's colour from what it lies on, at least. Less is hard to see for people too."""


@dataclass(slots=True)
class _Sheet:
    """A scene while it is drawn. areas, visible: pixels of each shape, before and after others covered it."""

    canvas: Canvas
    owners: npt.NDArray[np.int8]
    names: list[tuple[str, str]]
    areas: list[int]
    visible: list[int]
    fills: list[Colour]

    @property
    def side(self) -> float:
        return float(self.owners.size**0.5)


def draw_varied(seed: int) -> Drawing:
    """The scene of a seed: 1 to 12 shapes, aspect 1:2 to 2:1. Kinds often repeat, so that exemplars find others."""
    return _drawn(seed, _vary)


def draw_crowded(seed: int) -> Drawing:
    """A scene of up to 25 shapes of all kinds, most of them small: many lessons for the trunk at the cost of one."""
    return _drawn(seed, _crowd)


def _drawn(seed: int, add_shapes: Callable[[_Sheet, np.random.Generator], None]) -> Drawing:
    """The first sheet of a seed on which a shape found a place, photographed."""
    rng = np.random.default_rng(seed)
    while True:
        sheet = _blank(rng)
        add_shapes(sheet, rng)
        if sheet.names:
            return drawing(photographed(sheet.canvas, rng), sheet.owners, sheet.names)


def _vary(sheet: _Sheet, rng: np.random.Generator) -> None:
    kinds = [_kind(rng) for _ in range(int(rng.integers(1, 6)))]
    overlaps = rng.random() < 0.4
    number = int(rng.integers(1, 13)) if rng.random() < 0.5 else int(rng.integers(1, 7))
    base = np.exp(rng.uniform(np.log(SMALLEST), np.log(LARGEST)))
    for _ in range(number):
        _add(sheet, kinds[int(rng.integers(0, len(kinds)))], base, overlaps, rng)


def _crowd(sheet: _Sheet, rng: np.random.Generator) -> None:
    overlaps = rng.random() < 0.3
    base = np.exp(rng.uniform(np.log(SMALLEST), np.log(0.13)))
    for _ in range(int(rng.integers(10, 26))):
        _add(sheet, _kind(rng), base, overlaps, rng)


def _blank(rng: np.random.Generator) -> _Sheet:
    aspect = 2 ** (rng.uniform(-1, 1) if rng.random() < 0.7 else rng.uniform(-0.3, 0.3))
    side = rng.uniform(224, 352)
    size = ImageSize(round(side / aspect**0.5), round(side * aspect**0.5))
    owners = np.full((size.height, size.width), GROUND, np.int8)
    return _Sheet(ground(size, rng), owners, [], [], [], [])


def _kind(rng: np.random.Generator) -> tuple[str, str]:
    colour = NO_COLOUR if rng.random() < 0.06 else str(rng.choice(COLOURS))
    return colour, str(rng.choice(SHAPES))


def _add(sheet: _Sheet, kind: tuple[str, str], base: float, overlaps: bool, rng: np.random.Generator) -> None:
    """Draw a shape at the first of some random places that suits it; none, when none does."""
    height, width = sheet.owners.shape
    fill = shade(kind[0], rng)
    form = outline(kind[1], rng)
    for attempt in range(12):
        # Where a scene is full, smaller shapes are tried.
        share = base * rng.uniform(0.6, 1.6) * 0.93**attempt
        radius = sheet.side * float(np.clip(share, SMALLEST, LARGEST))
        reach = radius * (0.75 if rng.random() < 0.06 else 1.03)
        if 2 * reach >= min(width, height):
            continue
        at = np.array([rng.uniform(reach, width - reach), rng.uniform(reach, height - reach)])
        how = pen(fill, radius, rng)
        place = around(form * radius + at, how, sheet.owners.shape)
        cover = alpha(form * radius + at - place.corner, how, place.shape)
        if _suits(sheet, place, cover, how, overlaps):
            paint(sheet.canvas[place.part], form * radius + at - place.corner, how, cover, rng)
            _note(sheet, place, cover > 127, kind, fill)
            return


def _suits(sheet: _Sheet, place: Place, cover: Alpha, how: Pen, overlaps: bool) -> bool:
    """Whether the shape stands out from what it covers, and leaves enough of the shapes below."""
    own = cover > 127
    hidden = np.bincount(sheet.owners[place.part][own] + 1, minlength=len(sheet.names) + 1)
    if not own.any() or (hidden[1:].any() and not overlaps):
        return False
    for index in np.flatnonzero(hidden[1:]):
        if sheet.visible[index] - hidden[index + 1] < VISIBLE * sheet.areas[index]:
            return False
        if how.edge < 2 and distance(how.fill, sheet.fills[index]) < CONTRAST:
            return False
    rim = (cv2.dilate(cover, np.ones((5, 5), np.uint8)) > 127) & ~own
    seen = sheet.canvas[place.part][rim if rim.any() else own]
    far = distance(how.fill, seen[:: max(1, len(seen) // 24)])
    return bool(np.mean(far < CONTRAST) < 0.15)


def _note(sheet: _Sheet, place: Place, own: Mask, kind: tuple[str, str], fill: Colour) -> None:
    owners = sheet.owners[place.part]
    hidden = np.bincount(owners[own] + 1, minlength=len(sheet.names) + 1)[1:]
    sheet.visible = [before - int(lost) for before, lost in zip(sheet.visible, hidden, strict=True)]
    owners[own] = len(sheet.names)
    sheet.names.append(kind)
    sheet.areas.append(int(own.sum()))
    sheet.visible.append(int(own.sum()))
    sheet.fills.append(fill)
