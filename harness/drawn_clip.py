"""A drawn video with three shapes that words find: for benchmarks and pictures of tracking."""

import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from sam3_engine.types import ImageSize
from sam3_engine.video_files.writing import Film

SIZE = ImageSize(240, 320)
RATE = 10
PERIOD = 200
"""Frames after which everything is where it began."""
TEXTS = ("red circle", "blue square", "green triangle")
GROUND = (222, 216, 205)


def frame(number: int) -> Image.Image:
    """A circle, a square and a triangle, each on a path of its own; the circle and the triangle pass a bar."""
    image = Image.new("RGB", (SIZE.width, SIZE.height), GROUND)
    draw = ImageDraw.Draw(image)
    turn = 2 * math.pi * number / PERIOD
    x, y = 160 + 118 * math.sin(2 * turn), 58 + 22 * math.cos(4 * turn)
    draw.ellipse((x - 24, y - 24, x + 24, y + 24), fill=(214, 40, 40))
    x, y = 75 + 30 * math.sin(3 * turn), 170 + 32 * math.cos(2 * turn)
    draw.rectangle((x - 21, y - 21, x + 21, y + 21), fill=(40, 90, 210))
    x, y = 238 + 46 * math.cos(2 * turn), 172 + 26 * math.sin(3 * turn)
    draw.polygon([(x, y - 27), (x - 27, y + 22), (x + 27, y + 22)], fill=(30, 150, 70))
    draw.rectangle((150, 0, 166, SIZE.height), fill=(120, 112, 104))
    return image


def write_clip(path: Path, frames: int = PERIOD) -> Path:
    """So many frames as a file."""
    with Film(path, RATE) as film:
        for number in range(frames):
            film.add(np.asarray(frame(number)), number / RATE)
    return path
