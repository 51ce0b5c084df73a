"""Colours of shapes: every shade that most people give one of the six names, and some that have no name here."""

import colorsys
from typing import Any

import numpy as np
import numpy.typing as npt

from training.concepts import NO_COLOUR

Colour = npt.NDArray[np.float64]
"""float [3] RGB in 0..255."""

# Hue in degrees, saturation and brightness, each from..to. Other shades have other names: pink, brown, olive, teal.
SHADES: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "red": ((-12, 9), (0.62, 1.0), (0.5, 1.0)),
    "orange": ((19, 40), (0.7, 1.0), (0.82, 1.0)),
    "yellow": ((46.5, 65), (0.5, 1.0), (0.78, 1.0)),
    "green": ((84, 160), (0.35, 1.0), (0.3, 1.0)),
    "blue": ((198, 248), (0.42, 1.0), (0.35, 1.0)),
    "purple": ((263, 304), (0.35, 1.0), (0.35, 1.0)),
}


def shade(name: str, rng: np.random.Generator) -> Colour:
    """A shade of the named colour; half of them vivid."""
    if name == NO_COLOUR:
        return np.clip(rng.choice([20, 128, 240]) + rng.normal(0, 18) + rng.normal(0, 3, 3), 0, 255)
    hue, saturation, value = SHADES[name]
    vivid = rng.random() < 0.5
    degrees = rng.uniform(*hue)
    full = rng.uniform(max(0.75, saturation[0]), 1) if vivid else rng.uniform(*saturation)
    bright = rng.uniform(max(0.75, value[0]), 1) if vivid else rng.uniform(*value)
    if name == "purple" and degrees > 288:
        bright = min(bright, 0.82)  # brighter ones are magenta
    return rgb(degrees, full, bright)


def rgb(hue: float, saturation: float, value: float) -> Colour:
    """RGB of a hue in degrees."""
    return np.array(colorsys.hsv_to_rgb(hue % 360 / 360, saturation, value)) * 255


def distance(one: Colour, others: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.float64]:
    """How different colours [..., 3] look from one: weighted by the mean red ("redmean"), about 0 to 765."""
    mean = (one[0] + others[..., 0]) / 2
    weights = np.stack([2 + mean / 256, np.full_like(mean, 4), 2 + (255 - mean) / 256], -1)
    return np.asarray(np.sqrt((weights * (one - others) ** 2).sum(-1)), np.float64)
