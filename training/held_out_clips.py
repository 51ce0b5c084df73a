"""Clips that nothing is trained on, drawn by other code than those that are: Pillow, its own ways and colours.

Nothing here may be imported by training: see `training.held_out`.
"""

import math
import random
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from training.held_out import COLOURS, GROUNDS, SHAPES

SIDE = 320
FINE = 2
RGB = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class HeldOutClip:
    """frames: uint8 [T, H, W, 3] RGB. owners: int8 [T, H, W], the object seen at a pixel from 0, -1 for none.
    crossings: how often two objects cover one another's way: the pairs of objects whose places touch, each once a
    meeting."""

    frames: npt.NDArray[np.uint8]
    owners: npt.NDArray[np.int8]
    objects: int
    crossings: int


@dataclass(frozen=True, slots=True)
class _Body:
    shape: str
    colour: RGB
    radius: float
    start: tuple[float, float]
    speed: tuple[float, float]
    sway: float
    period: float
    spin: float
    breath: float


def draw_held_out_clip(seed: int, frames: int = 60) -> HeldOutClip:
    """The clip of a seed: 2 to 5 shapes that fly, sway, turn and breathe; most bounce off the sides, some leave through
    one and come back. A third of the clips are filmed by a hand that shakes."""
    rng = random.Random(f"held out clip {seed}")
    width, height = rng.choice([(SIDE, SIDE), (380, 285), (400, 240), (270, 360)])
    paper = _paper(width, height, rng)
    bodies = [_body(width, height, rng) for _ in range(rng.randint(2, 5))]
    leaves = [rng.random() < 0.25 for _ in bodies]
    hand = rng.choice([0.0, 0.0, 2.5])
    pictures, owners = [], []
    for number in range(frames):
        shift = (rng.gauss(0, hand), rng.gauss(0, hand))
        picture, owner = _frame(paper, bodies, leaves, number, shift)
        picture = picture.filter(ImageFilter.GaussianBlur(0.6))
        grain = np.random.default_rng(rng.getrandbits(32)).normal(0, 3, (height, width, 3))
        pictures.append(np.clip(np.asarray(picture, np.float64) + grain, 0, 255).astype(np.uint8))
        owners.append(owner)
    return HeldOutClip(
        np.stack(pictures), np.stack(owners), len(bodies), _crossings(bodies, leaves, frames, (width, height))
    )


def _paper(width: int, height: int, rng: random.Random) -> Image.Image:
    large = (width + 40, height + 40)
    first, second = (tuple(bytes.fromhex(rng.choice(GROUNDS[:15]))) for _ in range(2))
    share = Image.linear_gradient("L").rotate(rng.choice([0, 90, 180])).resize(large)
    image = Image.composite(Image.new("RGB", large, first), Image.new("RGB", large, second), share)
    draw = ImageDraw.Draw(image)
    for _ in range(rng.randint(0, 6)):
        grey = rng.randint(90, 200)
        ends = [rng.uniform(0, side) for side in (*large, *large)]
        draw.line(ends, (grey,) * 3, rng.randint(1, 4))
    return image


def _body(width: int, height: int, rng: random.Random) -> _Body:
    colour = rng.choice(["red", "blue", "green", "purple", "orange"])
    red, green, blue = bytes.fromhex(rng.choice(COLOURS[colour].split()))
    radius = rng.uniform(0.07, 0.15) * SIDE
    way, speed = rng.uniform(0, 2 * math.pi), rng.uniform(0.5, 5.0)
    return _Body(
        rng.choice(SHAPES),
        (red, green, blue),
        radius,
        (rng.uniform(radius, width - radius), rng.uniform(radius, height - radius)),
        (speed * math.cos(way), speed * math.sin(way)),
        rng.choice([0, 0, 12.0]),
        rng.uniform(15, 40),
        rng.choice([0, rng.uniform(-0.12, 0.12)]),
        rng.choice([0, 0.25]),
    )


def _place(body: _Body, number: int, size: tuple[int, int], leaves: bool) -> tuple[float, float, float]:
    """Centre and radius in a frame."""
    sway = body.sway * math.sin(number / body.period * 2 * math.pi)
    place = []
    for axis in (0, 1):
        at = body.start[axis] + body.speed[axis] * number + (sway if abs(body.speed[1 - axis]) > 0 else 0)
        room = 2.5 * body.radius if leaves else -body.radius
        low, high = -room, size[axis] + room
        span = high - low
        phase = (at - low) % (2 * span)
        place.append(low + (phase if phase <= span else 2 * span - phase))
    grown = body.radius * (1 + body.breath * math.sin(number / body.period * 2 * math.pi))
    return place[0], place[1], grown


def _frame(
    paper: Image.Image, bodies: list[_Body], leaves: list[bool], number: int, shift: tuple[float, float]
) -> tuple[Image.Image, npt.NDArray[np.int8]]:
    width, height = paper.width - 40, paper.height - 40
    dx, dy = (max(-18.0, min(18.0, value)) for value in shift)
    picture = paper.crop((round(20 + dx), round(20 + dy), round(20 + dx) + width, round(20 + dy) + height))
    large = picture.resize((FINE * width, FINE * height))
    owner = np.full((height, width), -1, np.int8)
    for index, (body, free) in enumerate(zip(bodies, leaves, strict=True)):
        x, y, radius = _place(body, number, (width, height), free)
        corners = _corners(body.shape, radius, body.spin * number)
        points = [(FINE * (x - dx + a), FINE * (y - dy + b)) for a, b in corners]
        stamp = Image.new("L", large.size)
        ImageDraw.Draw(stamp).polygon(points, 255)
        large.paste(body.colour, mask=stamp)
        owner[np.asarray(stamp.resize((width, height), Image.Resampling.BOX)) > 127] = index
    return large.resize((width, height), Image.Resampling.BOX), owner


def _corners(shape: str, radius: float, turn: float) -> list[tuple[float, float]]:
    radii = {
        "circle": [1.0] * 40,
        "square": [1.0] * 4,
        "triangle": [1.0] * 3,
        "star": [1.0, 0.45] * 5,
    }[shape]
    angles = [turn - math.pi / 2 + 2 * math.pi * number / len(radii) for number in range(len(radii))]
    return [
        (radius * share * math.cos(angle), radius * share * math.sin(angle))
        for share, angle in zip(radii, angles, strict=True)
    ]


def _crossings(bodies: list[_Body], leaves: list[bool], frames: int, size: tuple[int, int]) -> int:
    """Meetings of two objects: their circles begin to overlap."""
    count = 0
    apart: dict[tuple[int, int], bool] = {}
    for number in range(frames):
        places = [_place(body, number, size, free) for body, free in zip(bodies, leaves, strict=True)]
        for first in range(len(bodies)):
            for second in range(first):
                (a, b, r), (c, d, s) = places[first], places[second]
                now = math.hypot(a - c, b - d) > 0.8 * (r + s)
                count += apart.get((first, second), now) and not now
                apart[first, second] = now
    return count
