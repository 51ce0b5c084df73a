"""Images to send: drawn shapes, small files, each with a content of its own."""

import base64
import io
import os
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

RUN = os.urandom(3)
"""So that a server that has been up for long does not know them yet."""


@lru_cache(1024)
def drawing(number: int) -> bytes:
    """A PNG of 200 x 160 pixels with a red circle and a blue square; another content for each number and run."""
    image = Image.new("RGB", (200, 160), (235, 235, 235))
    draw = ImageDraw.Draw(image)
    draw.ellipse((30, 40, 110, 120), fill=(200, 30, 30))
    draw.rectangle((130, 20, 180, 70), fill=(30, 30, 200))
    for place, value in enumerate((*RUN, *number.to_bytes(6, "big"))):
        image.putpixel((place, 0), (value, value, value))
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@lru_cache(64)
def noise(number: int) -> bytes:
    """A PNG of 320 x 240 pixels that does not compress: 230 KB, as large as a photograph; other content for each."""
    rng = np.random.default_rng((number, *RUN))
    file = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (240, 320, 3), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def as_json(content: bytes) -> dict[str, str]:
    """An image as a JSON body carries it."""
    return {"type": "base64", "value": base64.b64encode(content).decode()}
