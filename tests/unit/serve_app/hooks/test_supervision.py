"""Detections for supervision, in its own types."""

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from serve_app.hooks.model import Found, Model
from serve_app.hooks.supervision import detect, detect_in_slices
from tests.support.scenes import COLOURS, scene

PHRASES = ["red", "no such thing", "blue"]


class ByColour(Model):
    """Finds the regions of a colour."""

    def __init__(self) -> None:
        self.sizes: list[tuple[int, int]] = []

    def concepts(self, content: bytes, phrases: Sequence[str], threshold: float = 0.5) -> list[list[Found]]:
        pixels = np.asarray(Image.open(BytesIO(content)).convert("RGB"))
        self.sizes.append((pixels.shape[0], pixels.shape[1]))
        return [self._parts(pixels, COLOURS.get(phrase)) for phrase in phrases]

    def _parts(self, pixels: Any, colour: Any) -> list[Found]:
        if colour is None:
            return []
        count, labels = cv2.connectedComponents((pixels == colour).all(axis=2).astype(np.uint8))
        return [Found(0.9, labels == label) for label in range(1, count)]


@pytest.mark.parametrize("as_array", [False, True])
def test_classes_are_the_phrases(as_array: bool) -> None:
    picture: Any = np.asarray(scene())[..., ::-1] if as_array else scene()
    found = detect(ByColour(), picture, PHRASES)
    assert found.class_id is not None
    assert found.class_id.tolist() == [0, 0, 2]
    assert [*found.data["class_name"]] == ["red", "red", "blue"]
    assert found.xyxy[2].tolist() == [190, 30, 270, 110]
    assert found.mask is not None
    assert found.mask.shape == (3, 256, 320)
    assert found.mask[2].sum() == 80 * 80


def test_nothing_found_is_empty() -> None:
    assert len(detect(ByColour(), scene(), ["no such thing"])) == 0


def test_a_large_picture_is_seen_in_slices() -> None:
    """Two pictures side by side, each in a slice of its own."""
    model = ByColour()
    wide = Image.new("RGB", (640, 256), (226, 224, 220))
    wide.paste(scene(), (0, 0))
    wide.paste(scene(), (320, 0))
    found = detect_in_slices(model, wide, ["blue"], side=320, overlap=0)
    assert set(model.sizes) == {(256, 320)}
    assert sorted(found.xyxy[:, 0].tolist()) == [190, 510]
    assert found.mask is not None
    assert found.mask.shape == (2, 256, 640)
