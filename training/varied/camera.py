"""What cameras, scanners and files do to an image."""

import cv2
import numpy as np

from sam3_engine.types import ImageSize
from training.labelled import Pixels
from training.varied.grounds import Canvas, noise


def photographed(canvas: Canvas, rng: np.random.Generator) -> Pixels:
    """uint8 pixels of a canvas: mostly with some light, blur, noise and JPEG; a third of the images stay clean."""
    if rng.random() > 0.3:
        canvas = _light(canvas, rng)
        canvas = _blur(canvas, rng)
        canvas = _noise(canvas, rng)
    picture = np.clip(canvas, 0, 255).astype(np.uint8)
    if rng.random() < 0.5:
        quality = int(rng.integers(35, 96))
        _, file = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
        picture = np.asarray(cv2.imdecode(file, cv2.IMREAD_COLOR), dtype=np.uint8)
    return picture


def _light(canvas: Canvas, rng: np.random.Generator) -> Canvas:
    canvas = canvas * (rng.uniform(0.78, 1.12) * rng.uniform(0.95, 1.05, 3)).astype(np.float32)
    height, width = canvas.shape[:2]
    if rng.random() < 0.35:
        lamp = noise(ImageSize(height, width), (2, 2), rng)
        canvas = canvas * (1 + np.float32(rng.uniform(0.03, 0.12)) * lamp)
    if rng.random() < 0.4:
        haze = np.float32(rng.uniform(0, 0.18))
        canvas = canvas * (1 - haze) + haze * np.float32(rng.uniform(60, 230))
    return canvas


def _blur(canvas: Canvas, rng: np.random.Generator) -> Canvas:
    kind = rng.random()
    unit = (canvas.shape[0] * canvas.shape[1]) ** 0.5 / 224
    if kind < 0.35:
        return np.asarray(cv2.GaussianBlur(canvas, (0, 0), unit * rng.uniform(0.2, 1.4)), np.float32)
    if kind < 0.42:
        length = max(2, round(unit * rng.uniform(1.5, 5)))
        turn = rng.uniform(0, np.pi)
        kernel = np.zeros((2 * length + 1,) * 2, np.float32)
        step = length / 2 * np.array([np.cos(turn), np.sin(turn)])
        ends = [np.round(length + side * step).astype(int).tolist() for side in (-1, 1)]
        cv2.line(kernel, ends[0], ends[1], 1.0)
        return np.asarray(cv2.filter2D(canvas, -1, kernel / kernel.sum()), np.float32)
    return canvas


def _noise(canvas: Canvas, rng: np.random.Generator) -> Canvas:
    if rng.random() < 0.3:
        return canvas
    strength = np.float32(rng.uniform(0, 1) ** 2 * 20)
    channels = int(rng.choice([1, 3]))
    grain = rng.standard_normal((*canvas.shape[:2], channels), dtype=np.float32)
    if rng.random() < 0.3:
        grain = cv2.GaussianBlur(grain, (0, 0), 0.8).reshape(grain.shape) * np.float32(2)
    return canvas + strength * grain
