"""A decoder says how long it will take before it decodes, and stops where its caller has it stop."""

from io import BytesIO
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from sam3_engine.errors import DecodingStopped
from sam3_engine.formats.progress import Progress, decoding_seconds
from sam3_engine.images import decode_image

NOISE = np.random.default_rng(0).integers(0, 65536, (1200, 900, 3), dtype=np.uint16)


class Counted(Progress):
    """Stops after some steps."""

    def __init__(self, most: float = np.inf) -> None:
        self.steps, self.most = 0, most
        self.seconds: list[float] = []
        self.steps_at_begin = 0

    def begin(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self.steps_at_begin = self.steps

    def step(self) -> None:
        self.steps += 1
        if self.seconds and self.steps - self.steps_at_begin > self.most:
            raise DecodingStopped


def by_opencv(kind: str, values: Any) -> bytes:
    done, content = cv2.imencode(kind, values)
    assert done
    return content.tobytes()


def by_pillow(kind: str, **options: Any) -> bytes:
    file = BytesIO()
    Image.fromarray((NOISE >> 8).astype(np.uint8)).save(file, kind, **options)
    return file.getvalue()


FILES = {
    "deep PNG": lambda: by_opencv(".png", NOISE),
    "deep TIFF": lambda: by_opencv(".tiff", NOISE),
    "float TIFF": lambda: by_opencv(".tiff", NOISE.astype(np.float64)),
    "grey of 16 bits": lambda: by_opencv(".png", NOISE[..., 0]),
    "PNG": lambda: by_pillow("PNG"),
    "JPEG": lambda: by_pillow("JPEG", quality=95),
    "BMP": lambda: by_pillow("BMP"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_decoder_stops_between_its_steps(name: str) -> None:
    content = FILES[name]()
    whole = Counted()
    decode_image(content, max_pixels=None, target=16, progress=whole)
    steps = whole.steps - whole.steps_at_begin
    assert steps >= 2
    stopped = Counted(most=1)
    with pytest.raises(DecodingStopped):
        decode_image(content, max_pixels=None, target=16, progress=stopped)
    assert len(stopped.seconds) == 1


def test_deep_pictures_and_many_scans_take_longer() -> None:
    plain = Counted()
    decode_image(by_pillow("JPEG"), max_pixels=None, target=16, progress=plain)
    scans = Counted()
    decode_image(by_pillow("JPEG", progressive=True), max_pixels=None, target=16, progress=scans)
    png, deep = Counted(), Counted()
    decode_image(by_pillow("PNG"), max_pixels=None, target=16, progress=png)
    decode_image(by_opencv(".png", NOISE), max_pixels=None, target=16, progress=deep)
    assert 0 < plain.seconds[0] < min(scans.seconds[0], png.seconds[0])
    assert png.seconds[0] < deep.seconds[0]


def test_the_seconds_grow_with_the_pixels_alone() -> None:
    for kind in ("JPEG", "PNG", "TIFF", "WEBP", "AVIF", "GIF", "BMP"):
        assert decoding_seconds(kind, 2 * 10**6) == pytest.approx(2 * decoding_seconds(kind, 10**6))
