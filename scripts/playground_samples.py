"""Draw the playground's six sample images: python -m scripts.playground_samples

Kinds of shapes that the bundled model knows, placed by a seed, on plain gradients.
"""

import colorsys
import math
import random
from pathlib import Path

import cv2
import numpy as np

from training.concepts import HUES

FOLDER = Path(__file__).resolve().parents[1] / "serve_app" / "playground" / "samples"
WIDTH, HEIGHT = 960, 720
FINE = 3  # drawn larger by this factor, then reduced
Ground = tuple[tuple[int, int, int], tuple[int, int, int]]

# name: seed, the background's colours from the top left to the bottom right, the shapes
SCENES: dict[str, tuple[int, Ground, list[str]]] = {
    "dusk": (4, ((38, 44, 72), (96, 74, 108)), ["yellow star"] * 3 + ["red circle"] * 2 + ["green star"] * 2),
    "paper": (
        33,
        ((240, 235, 224), (216, 208, 192)),
        ["blue square"] * 3 + ["orange circle"] * 3 + ["red triangle"],
    ),
    "mint": (
        3,
        ((206, 228, 216), (150, 188, 176)),
        ["purple triangle"] * 3 + ["red square"] * 2 + ["yellow circle"] * 2,
    ),
    "stars": (
        5,
        ((58, 62, 70), (104, 108, 118)),
        ["green star"] * 2 + ["purple star"] * 2 + ["orange star"] * 3,
    ),
    "sky": (
        20,
        ((222, 230, 240), (176, 190, 212)),
        ["red circle", "red square", "red triangle", "red star"] + ["green circle"] * 2,
    ),
    "slate": (20, ((44, 58, 60), (84, 100, 98)), ["blue circle"] * 4 + ["orange triangle"] * 3),
}


def corners(shape: str, angle: float) -> np.ndarray:
    """Corners [N, 2] inside the unit circle."""
    if shape == "circle":
        radii: np.ndarray = np.ones(180)
    elif shape == "star":
        radii = np.tile([1.0, 0.45], 5)
    else:
        radii = np.ones({"square": 4, "triangle": 3}[shape])
    turns = angle + np.arange(len(radii)) * 2 * math.pi / len(radii)
    return np.stack([np.cos(turns), np.sin(turns)], axis=1) * radii[:, None]


def places(rng: random.Random, count: int) -> list[tuple[float, float, float]]:
    """Circles (x, y, radius) apart from each other and from the edges."""
    found: list[tuple[float, float, float]] = []
    while len(found) < count:
        radius = rng.uniform(0.095, 0.155) * math.sqrt(WIDTH * HEIGHT)
        x, y = rng.uniform(radius + 24, WIDTH - radius - 24), rng.uniform(radius + 24, HEIGHT - radius - 24)
        if all(math.hypot(x - a, y - b) > radius + r + 26 for a, b, r in found):
            found.append((x, y, radius))
        elif rng.random() < 0.003:
            found.clear()  # no room left: start again
    return found


def shade(colour: str, rng: random.Random) -> tuple[int, ...]:
    red, green, blue = colorsys.hsv_to_rgb(
        (HUES[colour] + rng.uniform(-4, 4)) % 360 / 360, rng.uniform(0.76, 0.86), rng.uniform(0.86, 0.96)
    )
    return tuple(round(channel * 255) for channel in (red, green, blue))


def draw(seed: int, ground: Ground, kinds: list[str]) -> np.ndarray:
    """The picture, uint8 [HEIGHT, WIDTH, 3] RGB."""
    rng = random.Random(seed)
    height, width = HEIGHT * FINE, WIDTH * FINE
    ramp = (np.linspace(0, 1, height)[:, None] + np.linspace(0, 1, width)[None, :])[..., None] / 2
    start, end = (np.array(colour, dtype=np.float64) for colour in ground)
    picture = (start + (end - start) * ramp).astype(np.uint8)
    for kind, (x, y, radius) in zip(kinds, places(rng, len(kinds)), strict=True):
        colour, shape = kind.split()
        outline = (corners(shape, rng.uniform(0, 2 * math.pi)) * radius + [x, y]) * FINE
        cv2.fillPoly(picture, [np.round(outline).astype(np.int32)], shade(colour, rng), cv2.LINE_AA)
    return cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, (seed, ground, kinds) in SCENES.items():
        picture = draw(seed, ground, kinds)
        path = FOLDER / f"{name}.jpg"
        cv2.imwrite(str(path), picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])
        print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
