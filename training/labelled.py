"""What a drawn image offers to prompts, losses and figures, whichever program drew it."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from sam3_engine.types import Box, ImageSize, Point

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
GROUND = -1
"""The owner of a pixel that belongs to no object."""


class Kind(Protocol):
    """An object's names, and the box (x0, y0, x1, y1) around its visible part in pixels of its image."""

    @property
    def shape(self) -> str: ...
    @property
    def colour(self) -> str: ...
    @property
    def box(self) -> Box: ...


class Labelled(Protocol):
    """An image with its objects. Masks of two objects have no pixel in common."""

    @property
    def size(self) -> ImageSize: ...
    @property
    def shapes(self) -> Sequence[Kind]: ...
    def picture(self, size: ImageSize) -> Pixels:
        """The image at a size, uint8 [height, width, 3] RGB."""
        ...

    def mask(self, index: int, size: ImageSize) -> Mask:
        """The visible part of an object at a size, bool [height, width]."""
        ...

    def coverage(self, index: int, cells: int) -> npt.NDArray[np.float32]:
        """The share of each cell of a grid that the object covers, float [cells, cells] in [0, 1]."""
        ...

    def inside(self, index: int, rng: random.Random) -> Point:
        """A random point of the object, drawn towards its middle, where people click."""
        ...


@dataclass(frozen=True, slots=True)
class Object:
    """One object of a drawing: its names, and the box around its visible part in the drawing's pixels."""

    shape: str
    colour: str
    box: Box


@dataclass(frozen=True, slots=True)
class Drawing:
    """A drawn image, uint8 [height, width, 3] RGB, and the object that each pixel shows, int8 [height, width]."""

    pixels: Pixels
    owners: npt.NDArray[np.int8]
    shapes: tuple[Object, ...]

    @property
    def size(self) -> ImageSize:
        height, width = self.owners.shape
        return ImageSize(height, width)

    def picture(self, size: ImageSize) -> Pixels:
        """Resized as requests are."""
        if size == self.size:
            return self.pixels
        resized = Image.fromarray(self.pixels).resize((size.width, size.height), Image.Resampling.BILINEAR)
        return np.asarray(resized)

    def mask(self, index: int, size: ImageSize) -> Mask:
        own = (self.owners == index).astype(np.uint8)
        if size != self.size:
            own = np.asarray(cv2.resize(own, (size.width, size.height), interpolation=cv2.INTER_NEAREST))
        return own > 0

    def coverage(self, index: int, cells: int) -> npt.NDArray[np.float32]:
        own = (self.owners == index).astype(np.float32)
        return np.asarray(cv2.resize(own, (cells, cells), interpolation=cv2.INTER_AREA), np.float32)

    def inside(self, index: int, rng: random.Random) -> Point:
        x0, y0, x1, y1 = (int(side) for side in self.shapes[index].box)
        own = np.pad((self.owners[y0:y1, x0:x1] == index).astype(np.uint8), 1)
        depth = cv2.distanceTransform(own, cv2.DIST_L2, 3)[1:-1, 1:-1]
        ys, xs = np.nonzero(depth >= rng.uniform(0.3, 0.9) * depth.max())
        pick = rng.randrange(len(ys))
        return Point(x0 + float(xs[pick]) + 0.5, y0 + float(ys[pick]) + 0.5, True)


def drawing(pixels: Pixels, owners: npt.NDArray[np.int8], names: Sequence[tuple[str, str]]) -> Drawing:
    """A drawing whose objects get the boxes of their visible parts. names: (colour, shape) of each object.

    Raises ValueError for an object that no pixel shows.
    """
    objects = []
    for index, (colour, shape) in enumerate(names):
        own = owners == index
        rows, columns = np.flatnonzero(own.any(axis=1)), np.flatnonzero(own.any(axis=0))
        if len(rows) == 0:
            raise ValueError(f"object {index} ({colour} {shape}) is hidden")
        box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
        objects.append(Object(shape, colour, box))
    return Drawing(pixels, owners, tuple(objects))
