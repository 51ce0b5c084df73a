"""Plain scenes: up to 7 coloured shapes apart from each other, with exact masks, drawn from a seed.

A scene describes shapes in the pixels of a canvas and can be rendered at any size. `training.varied` draws the scenes
that `tiny` mostly learns from; these are a part of its training, its first figures, and pictures for load tests.
"""

import colorsys
import random
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from sam3_engine.types import Box, ImageSize, Point
from training.concepts import COLOURS, HUES, SHAPES
from training.labelled import Pixels

Colour = tuple[int, int, int]
_SUBPIXEL_BITS = 4


@dataclass(frozen=True, slots=True)
class Shape:
    """One object. outline: float [N, 2] corners (x, y) in canvas pixels; rgb: its fill."""

    shape: str
    colour: str
    outline: npt.NDArray[np.float64]
    rgb: Colour

    @property
    def box(self) -> Box:
        """(x0, y0, x1, y1) in canvas pixels."""
        (x0, y0), (x1, y1) = self.outline.min(axis=0), self.outline.max(axis=0)
        return float(x0), float(y0), float(x1), float(y1)


@dataclass(frozen=True, slots=True)
class Scene:
    """Objects that do not overlap, on a background that `seed` determines."""

    size: ImageSize
    shapes: tuple[Shape, ...]
    seed: int

    def mask(self, index: int, size: ImageSize) -> npt.NDArray[np.bool_]:
        """The object's mask, bool [height, width], rendered at `size`."""
        canvas = np.zeros(size, dtype=np.uint8)
        _fill(canvas, self._outline(self.shapes[index], size), 255)
        return canvas > 127

    def coverage(self, index: int, cells: int) -> npt.NDArray[np.float32]:
        """The share of each cell of a grid that the object covers, float [cells, cells] in [0, 1]."""
        fine = self.mask(index, ImageSize(4 * cells, 4 * cells)).astype(np.float32)
        return fine.reshape(cells, 4, cells, 4).mean(axis=(1, 3))

    def inside(self, index: int, rng: random.Random) -> Point:
        """A random point of the object, drawn towards its centre (people click the middle)."""
        outline = self.shapes[index].outline
        centre = outline.mean(axis=0)
        corner = outline[rng.randrange(len(outline))]
        after = outline[(rng.randrange(len(outline)))]
        # Any point of a star-shaped outline lies on a ray from its centre; stay within the inner radius of stars.
        edge = min(np.linalg.norm(outline - centre, axis=1).min(), _inradius(outline, centre))
        direction = corner - centre + 0.5 * (after - centre)
        length = np.linalg.norm(direction) or 1.0
        x, y = centre + direction / length * edge * 0.85 * rng.random() ** 0.7
        return Point(float(x), float(y), True)

    def picture(self, size: ImageSize) -> Pixels:
        """The picture at its own size, resized as requests are."""
        own = Image.fromarray(render(self))
        return np.asarray(own.resize((size.width, size.height), Image.Resampling.BILINEAR))

    def _outline(self, shape: Shape, size: ImageSize) -> npt.NDArray[np.float64]:
        return shape.outline * [size.width / self.size.width, size.height / self.size.height]


def draw_scene(seed: int, size: ImageSize | None = None, max_shapes: int = 7) -> Scene:
    """A scene of 1 to `max_shapes` shapes. Kinds often repeat, so that exemplars have other instances to find."""
    rng = random.Random(seed)
    if size is None:
        size = ImageSize(240, round(240 * rng.uniform(0.8, 1.4)))
    kinds = [(rng.choice(COLOURS), rng.choice(SHAPES)) for _ in range(rng.randint(1, 4))]
    shapes: list[Shape] = []
    circles: list[tuple[float, float, float]] = []
    scale = (size.height * size.width) ** 0.5
    for _ in range(rng.randint(1, max_shapes)):
        for _attempt in range(30):
            radius = scale * rng.uniform(0.09, 0.18)
            x = rng.uniform(radius, size.width - radius)
            y = rng.uniform(radius, size.height - radius)
            if all((x - a) ** 2 + (y - b) ** 2 > (radius + r + 0.01 * scale) ** 2 for a, b, r in circles):
                colour, shape = rng.choice(kinds)
                circles.append((x, y, radius))
                outline = _corners(shape, rng.uniform(0, 2 * np.pi)) * radius + [x, y]
                shapes.append(Shape(shape, colour, outline, _shade(colour, rng)))
                break
    return Scene(size, tuple(shapes), seed)


def render(scene: Scene, size: ImageSize | None = None) -> Pixels:
    """The picture, uint8 [height, width, 3] RGB."""
    size = size or scene.size
    rng = np.random.default_rng(scene.seed)
    picture = _background(size, rng)
    _clutter(picture, rng)
    for shape in scene.shapes:
        outline = scene._outline(shape, size)
        _fill(picture, outline, shape.rgb)
        if rng.random() < 0.2:
            edge = tuple(int(channel * 0.7) for channel in shape.rgb)
            cv2.polylines(picture, [np.round(outline).astype(np.int32)], True, edge, 1, cv2.LINE_AA)
    noise = rng.standard_normal(picture.shape, dtype=np.float32)
    noisy = picture + np.float32(rng.uniform(0, 8)) * noise
    picture = np.clip(noisy, 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        quality = int(rng.integers(50, 96))
        _, file = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
        picture = np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR), dtype=np.uint8)
    return np.ascontiguousarray(picture)


def _corners(shape: str, angle: float) -> npt.NDArray[np.float64]:
    """Corners of a shape inside the unit circle."""
    radii: npt.NDArray[np.float64]
    if shape == "circle":
        count, radii = 48, np.ones(48)
        angle = 0.0
    elif shape == "star":
        count, radii = 10, np.tile([1.0, 0.45], 5)
    else:
        count = {"square": 4, "triangle": 3}[shape]
        radii = np.ones(count)
    turns = angle + np.arange(count) * 2 * np.pi / count
    return np.stack([np.cos(turns), np.sin(turns)], axis=1) * radii[:, None]


def _shade(colour: str, rng: random.Random) -> Colour:
    hue = (HUES[colour] + rng.uniform(-6, 6)) % 360 / 360
    red, green, blue = colorsys.hsv_to_rgb(hue, rng.uniform(0.75, 1.0), rng.uniform(0.8, 1.0))
    return int(red * 255), int(green * 255), int(blue * 255)


def _fill(picture: npt.NDArray[Any], outline: npt.NDArray[np.float64], value: Colour | int) -> None:
    # Pixel centres are at integers in OpenCV and at half-integers here.
    fixed = np.round((outline - 0.5) * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    colour = value if isinstance(value, tuple) else (value,)
    line = cv2.LINE_AA if picture.ndim == 3 else cv2.LINE_8
    cv2.fillPoly(picture, [fixed], colour, line, _SUBPIXEL_BITS)


def _muted(rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """A background colour: little saturation, any brightness."""
    grey = rng.uniform(30, 230)
    return np.clip(grey + rng.uniform(-22, 22, 3), 0, 255)


def _background(size: ImageSize, rng: np.random.Generator) -> Pixels:
    ramp_y = np.linspace(0, 1, size.height)[:, None, None]
    ramp_x = np.linspace(0, 1, size.width)[None, :, None]
    tilt = rng.uniform(0, 1)
    ramp = tilt * ramp_y + (1 - tilt) * ramp_x
    start, end = _muted(rng), _muted(rng)
    picture = start + (end - start) * rng.uniform(0, 0.8) * ramp
    texture = rng.integers(0, 3)
    if texture == 1:
        period = rng.uniform(8, 40)
        wave = np.sin((ramp_x * rng.uniform(-1, 1) + ramp_y * rng.uniform(-1, 1)) * 2 * np.pi * period)
        picture = picture + wave * rng.uniform(2, 10)
    elif texture == 2:
        cells = int(rng.integers(4, 24))
        patches = rng.normal(0, rng.uniform(3, 12), (cells, cells)).astype(np.float32)
        picture = (
            picture
            + cv2.resize(patches, (size.width, size.height), interpolation=cv2.INTER_CUBIC)[:, :, None]
        )
    return np.clip(picture, 0, 255).astype(np.uint8)


def _clutter(picture: Pixels, rng: np.random.Generator) -> None:
    """Lines, rings and crosses: none of them a shape that has a name."""
    height, width = picture.shape[:2]
    unit = (height * width) ** 0.5
    for _ in range(int(rng.integers(0, 4))):
        x, y = int(rng.uniform(0, width)), int(rng.uniform(0, height))
        tone = tuple(int(channel) for channel in _muted(rng))
        thickness = max(1, round(unit * rng.uniform(0.004, 0.012)))
        reach = int(unit * rng.uniform(0.04, 0.15))
        kind = rng.integers(0, 3)
        if kind == 0:
            end = (int(rng.uniform(0, width)), int(rng.uniform(0, height)))
            cv2.line(picture, (x, y), end, tone, thickness, cv2.LINE_AA)
        elif kind == 1:
            cv2.ellipse(
                picture,
                (x, y),
                (reach, reach // 2 + 1),
                rng.uniform(0, 180),
                0,
                300,
                tone,
                thickness,
                cv2.LINE_AA,
            )
        else:
            cv2.line(picture, (x - reach, y), (x + reach, y), tone, thickness, cv2.LINE_AA)
            cv2.line(picture, (x, y - reach), (x, y + reach), tone, thickness, cv2.LINE_AA)


def _inradius(outline: npt.NDArray[np.float64], centre: npt.NDArray[np.float64]) -> float:
    ahead = np.roll(outline, -1, axis=0)
    side = ahead - outline
    cross = np.abs(side[:, 0] * (centre[1] - outline[:, 1]) - side[:, 1] * (centre[0] - outline[:, 0]))
    return float((cross / np.linalg.norm(side, axis=1)).min())
