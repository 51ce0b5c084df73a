"""Engines that track, with the bundled and with random weights, and a drawn clip."""

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from sam3_engine.engine import Engine
from sam3_engine.features import Features
from sam3_engine.images import decode_picture
from sam3_engine.spec import TINY

Square = npt.NDArray[np.uint8]
FRAMES = 18


@pytest.fixture(scope="session", params=["bundled", "random"])
def tracker(request: pytest.FixtureRequest) -> Engine:
    if request.param == "bundled":
        return Engine.load("tiny", device="cpu", dtype="float32", video=True)
    return Engine.random(TINY, device="cpu", dtype="float32", video=True)


@pytest.fixture(scope="session")
def random_tracker() -> Engine:
    return Engine.random(TINY, device="cpu", dtype="float32", video=True)


@pytest.fixture(scope="session")
def clip() -> list[Square]:
    """A red disc that crosses the picture behind a blue bar, and a green square that stays."""
    frames: list[Square] = []
    for number in range(FRAMES):
        frame = np.full((224, 224, 3), 200, dtype=np.uint8)
        cv2.circle(frame, (30 + 9 * number, 70 + 2 * number), 22, (220, 30, 30), -1)
        cv2.rectangle(frame, (20, 160), (60, 200), (30, 170, 60), -1)
        cv2.rectangle(frame, (110, 0), (125, 224), (40, 60, 200), -1)
        frames.append(decode_picture(Image.fromarray(frame), TINY.image_size).square)
    return frames


@pytest.fixture(scope="session")
def features(tracker: Engine, clip: list[Square]) -> list[Features]:
    return [tracker.expand(embedding) for embedding in tracker.encode(clip)]


@pytest.fixture(scope="session")
def random_features(random_tracker: Engine, clip: list[Square]) -> list[Features]:
    return [random_tracker.expand(embedding) for embedding in random_tracker.encode(clip)]
