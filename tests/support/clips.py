"""Drawn videos with known truth: shapes that move a little from frame to frame."""

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from tests.support.scenes import COLOURS, GROUND, HEIGHT, WIDTH, encoded

RADIUS = 30
STEP = 6


def frame(number: int, *, blue_from: int = 0) -> Image.Image:
    """A red circle that moves to the right and a blue square that moves down, from frame `blue_from` on."""
    image = Image.new("RGB", (WIDTH, HEIGHT), GROUND)
    draw = ImageDraw.Draw(image)
    x, y = red_at(number)
    draw.ellipse((x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS), fill=COLOURS["red"])
    if number >= blue_from:
        x, y = blue_at(number)
        draw.rectangle((x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS), fill=COLOURS["blue"])
    return image


def picture(number: int, *, blue_from: int = 0) -> bytes:
    """The frame as a PNG."""
    return encoded(frame(number, blue_from=blue_from))


def red_at(number: int) -> tuple[int, int]:
    """The circle's centre."""
    return 60 + STEP * number, 180


def blue_at(number: int) -> tuple[int, int]:
    """The square's centre."""
    return 230, 50 + STEP * number


def clip(frames: int) -> bytes:
    """A video file of so many frames, 10 a second."""
    from sam3_engine.video_files.writing import Film  # tools' own environments have no PyAV

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        with Film(path, 10.0) as film:
            for number in range(frames):
                film.add(np.asarray(frame(number)), number / 10)
        return path.read_bytes()
