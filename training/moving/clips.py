"""Clips of a few seconds: shapes that move, turn, grow, cross, leave and come back, some behind a bar."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from sam3_engine.types import ImageSize
from training.concepts import COLOURS, SHAPES
from training.labelled import GROUND, Pixels
from training.moving.paths import Motion, meeting, motion, shake
from training.varied.camera import photographed
from training.varied.colours import distance, shade
from training.varied.grounds import Canvas, ground, tone
from training.varied.outlines import Outline, outline
from training.varied.paint import Pen, alpha, around, paint, pen

MARGIN = 0.2
"""How far the ground reaches beyond the frame, in shares of the frame's side: the camera moves over it."""

MEETING = 0.5
"""Share of the clips in which objects are led past one another: by chance few of them meet within a few frames."""


@dataclass(frozen=True, slots=True)
class Clip:
    """frames: uint8 [T, S, S, 3] RGB. owners: int8 [T, S, S], the number of the object that is seen at a pixel, GROUND
    for none. Objects are numbered from 0 to `objects` - 1."""

    frames: npt.NDArray[np.uint8]
    owners: npt.NDArray[np.int8]
    objects: int

    def mask(self, frame: int, number: int) -> npt.NDArray[np.bool_]:
        """The visible part of an object in a frame, [S, S]."""
        return np.asarray(self.owners[frame] == number)


@dataclass(frozen=True, slots=True)
class _Actor:
    """A shape with its way. number: None for one that hides others and is nobody's object. grain: seed of what is
    random in its paint, the same in each frame."""

    number: int | None
    form: Outline
    radius: float
    how: Pen
    way: Motion
    grain: int


def draw_clip(seed: int, frames: int, side: int) -> Clip:
    """The clip of a seed. Each object is visible in the first frame. Some have the look of another one: only their
    ways tell them apart."""
    rng = np.random.default_rng(seed)
    margin = round(MARGIN * side)
    whole = ground(ImageSize(side + 2 * margin, side + 2 * margin), rng)
    length = frames * int(
        rng.integers(1, 6)
    )  # of the ways, of which the clip shows the beginning: slow ones and fast
    camera = np.clip(shake(length, rng), -MARGIN, MARGIN)
    while True:
        actors = _actors(length, side, whole, rng)
        if rng.random() < MEETING:
            actors = _met(actors, frames, rng)
        owners = np.full((frames, side, side), GROUND, np.int8)
        pictures = [
            _frame(whole, camera[number], actors, number, side, owners[number]) for number in range(frames)
        ]
        objects = sum(one.number is not None for one in actors)
        if all((owners[0] == number).sum() >= 40 for number in range(objects)):
            break
    camera_noise = int(rng.integers(1 << 31))
    return Clip(np.stack([_taken(picture, camera_noise) for picture in pictures]), owners, objects)


def _taken(picture: Canvas, camera: int) -> Pixels:
    """The same light, blur and grain in all frames of a clip."""
    return photographed(picture, np.random.default_rng(camera))


def _actors(frames: int, side: int, whole: Canvas, rng: np.random.Generator) -> list[_Actor]:
    actors: list[_Actor] = []
    kinds = [(str(rng.choice(COLOURS)), str(rng.choice(SHAPES))) for _ in range(int(rng.integers(1, 4)))]
    for _ in range(int(rng.integers(1, 7))):
        colour, shape = kinds[int(rng.integers(len(kinds)))]
        radius = float(np.exp(rng.uniform(np.log(0.06), np.log(0.2))))
        fill = shade(colour, rng)
        if np.mean(distance(fill, whole[::9, ::9]) < 70) > 0.25:  # hard to see for people too
            continue
        how = pen(fill, radius * side, rng)
        number = sum(one.number is not None for one in actors)
        actors.append(
            _Actor(
                number,
                outline(shape, rng),
                radius,
                how,
                motion(frames, radius, rng),
                int(rng.integers(1 << 31)),
            )
        )
    if not actors:
        return _actors(frames, side, whole, rng)
    if rng.random() < 0.35:  # a bar that stands in the way
        width = rng.uniform(0.08, 0.2)
        bar = np.array([[-width, -2], [width, -2], [width, 2], [-width, 2]]) / 2
        still = Motion(np.repeat(rng.uniform(0.3, 0.7, (1, 2)), frames, 0), np.zeros(frames), np.ones(frames))
        turn = rng.uniform(0, np.pi)
        bar = bar @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        plain = Pen(tone(rng), False, 0.0, tone(rng), 0.0, 0.0, 0.0)
        actors.append(_Actor(None, bar, 1.0, plain, still, 0))
    return actors


def _met(actors: list[_Actor], frames: int, rng: np.random.Generator) -> list[_Actor]:
    """Every second object is led past the one before it, within the clip's frames."""
    met = list(actors)
    for index in range(1, len(met), 2):
        one, other = met[index], met[index - 1]
        if one.number is None or other.number is None:
            continue
        reach = (one.radius + other.radius) * rng.uniform(1.0, 2.5)
        way = meeting(one.way, other.way, reach, int(rng.integers(2, max(3, frames))), rng)
        met[index] = replace(one, way=way)
    return met


def _frame(
    whole: Canvas,
    camera: npt.NDArray[np.float64],
    actors: list[_Actor],
    number: int,
    side: int,
    owners: npt.NDArray[np.int8],
) -> Canvas:
    """One frame's picture; fills in its owners. Later actors cover earlier ones."""
    margin = round(MARGIN * side)
    shift = np.array([[1, 0, -margin - camera[0] * side], [0, 1, -margin - camera[1] * side]])
    canvas = np.array(cv2.warpAffine(whole, shift, (side, side), borderMode=cv2.BORDER_REFLECT), np.float32)
    for one in actors:
        turn = one.way.turn[number]
        rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        at = (one.way.at[number] - camera) * side
        shape = one.form @ rotation * (one.radius * one.way.grow[number] * side) + at
        place = around(shape, one.how, canvas.shape[:2])
        if min(place.shape) <= 0:
            continue
        cover = alpha(shape - place.corner, one.how, place.shape)
        if not cover.any():
            continue
        paint(canvas[place.part], shape - place.corner, one.how, cover, np.random.default_rng(one.grain))
        owners[place.part][cover > 127] = GROUND if one.number is None else one.number
    return canvas
