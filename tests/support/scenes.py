"""Drawn scenes with known truth, for tests that ask a server: three shapes on a plain ground."""

import base64
import io
import os
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

WIDTH, HEIGHT = 320, 256
GROUND = (226, 224, 220)
COLOURS = {
    "red": (214, 40, 40),
    "green": (40, 160, 70),
    "blue": (40, 80, 210),
    "yellow": (240, 205, 40),
    "purple": (130, 50, 170),
    "orange": (240, 130, 30),
}
# By name: the box (x0, y0, x1, y1) of each shape in the scene.
CIRCLE = (30.0, 40.0, 110.0, 120.0)
SQUARE = (190.0, 30.0, 270.0, 110.0)
SECOND_CIRCLE = (110.0, 150.0, 190.0, 230.0)
SHAPES = {"red circle": CIRCLE, "blue square": SQUARE, "red circle too": SECOND_CIRCLE}


def scene() -> Image.Image:
    """Two red circles and a blue square, 320 x 256."""
    image = Image.new("RGB", (WIDTH, HEIGHT), GROUND)
    draw = ImageDraw.Draw(image)
    draw.ellipse(_inclusive(CIRCLE), fill=COLOURS["red"])
    draw.ellipse(_inclusive(SECOND_CIRCLE), fill=COLOURS["red"])
    draw.rectangle(_inclusive(SQUARE), fill=COLOURS["blue"])
    return image


def ring() -> Image.Image:
    """A red circle with a hole."""
    image = Image.new("RGB", (200, 160), GROUND)
    draw = ImageDraw.Draw(image)
    draw.ellipse((40, 20, 159, 139), fill=COLOURS["red"])
    draw.ellipse((80, 60, 119, 99), fill=GROUND)
    return image


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The bytes of an image file."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def as_json(content: bytes) -> dict[str, str]:
    """An image as a JSON body carries it."""
    return {"type": "base64", "value": base64.b64encode(content).decode()}


RUN = os.urandom(3)


def numbered(number: int) -> bytes:
    """The scene as a file of its own content: the same to look at, another digest for each number and each run.

    So a server that has been up for long does not know it yet.
    """
    image = scene()
    image.putpixel((1, 0), (RUN[0], RUN[1], RUN[2]))
    image.putpixel((0, 0), (number % 256, number // 256 % 256, number // 65536 % 256))
    return encoded(image)


def drawn(colour: str) -> npt.NDArray[np.bool_]:
    """The pixels of the scene's shapes of this colour, [H, W]. Numbered scenes differ in two pixels of the ground."""
    return np.asarray((np.asarray(scene()) == COLOURS[colour]).all(axis=2))


def centre(box: tuple[float, float, float, float]) -> tuple[float, float]:
    """The middle of a box: x and y."""
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def mask_iou(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> float:
    """Intersection over union of two masks of one size."""
    return float((one & other).sum() / (one | other).sum())


def box_iou(one: Any, other: Any) -> float:
    """Intersection over union of two boxes (x0, y0, x1, y1)."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    common = max(width, 0.0) * max(height, 0.0)
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return float(common / (sum(areas) - common))


def polygon_box(polygons: list[list[list[float]]]) -> tuple[float, float, float, float]:
    """The box around polygons."""
    points: npt.NDArray[np.float64] = np.array([point for polygon in polygons for point in polygon])
    (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
    return (float(x0), float(y0), float(x1) + 1, float(y1) + 1)


def _inclusive(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    return (box[0], box[1], box[2] - 1, box[3] - 1)
