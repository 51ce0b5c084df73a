"""Decoding any file takes at most 8 bytes for each pixel and a constant, or the file is refused.

Here one or two files of each format are tried; `make drill ONLY=decoding_memory` tries all.
"""

import random
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sam3_engine.errors import ImageTooLarge, UnreadableImage
from sam3_engine.images import decode_image, lift_pillow_limit, probe
from tests.support.decoding_memory import CONSTANT, READ, REFUSED, decoded, in_a_fork, memory, written
from tests.support.image_files import encoded

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from Linux's /proc")

SOME = (
    "PNG, transparent everywhere",
    "PNG, 16 bits of colours",
    "JPEG, progressive",
    "GIF, transparent",
    "BMP",
    "WEBP, transparent",
    "AVIF",
    "TIFF, one transparent strip",
    "TIFF, coloured floats",
)


@pytest.mark.parametrize("name", SOME)
def test_decoding_takes_eight_bytes_a_pixel_and_a_constant(name: str) -> None:
    results = decoded(READ[name]())
    assert [refusal for *_, refusal in results] == ["", ""]
    for pixels, taken, _ in results:
        assert taken <= 8 * int(pixels) + CONSTANT


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_would_take_more_is_refused_and_takes_nothing(name: str) -> None:
    results = decoded(REFUSED[name]())
    assert [pixels for pixels, *_ in results] == ["refused", "refused"]
    for _, taken, refusal in results:
        assert "MiB to decode" in refusal
        assert taken <= CONSTANT


def worst_of_damaged(files: dict[str, bytes]) -> tuple[int, int]:
    """Number of damaged files that were read, and the most memory beyond 8 bytes a pixel that one of all took."""
    lift_pillow_limit()
    chance, read, worst = random.Random(7), 0, 0
    for whole in files.values():
        for _ in range(60):
            content = bytearray(whole)
            for _ in range(chance.randint(1, 8)):  # most of them in the header
                content[int(len(content) * chance.random() ** 3)] = chance.randrange(256)
            pixels = 0
            with suppress(ImageTooLarge, UnreadableImage):
                size = probe(bytes(content)).size
                pixels = min(size[0] * size[1], 120_000_000)
            Path("/proc/self/clear_refs").write_text("5")
            before = memory("VmRSS")
            with suppress(ImageTooLarge, UnreadableImage):
                decode_image(bytes(content), max_pixels=120_000_000, target=224)
                read += 1
            worst = max(worst, memory("VmHWM") - before - 8 * pixels)
    return read, worst


def test_damaged_files_take_no_more_than_the_pixels_that_they_claim() -> None:
    small = Image.effect_mandelbrot((80, 60), (-2, -1, 1, 1), 20).convert("RGB")
    deep = np.asarray(small).astype(np.uint16) * 200
    seeds = {
        "a.jpg": encoded(small, "JPEG"),
        "b.jpg": encoded(small, "JPEG", progressive=True),
        "c.png": encoded(small, "PNG"),
        "d.png": encoded(small.convert("RGBA"), "PNG"),
        "e.png": written(".png", deep),
        "f.gif": encoded(small.quantize(8), "GIF"),
        "g.webp": encoded(small, "WEBP"),
        "h.webp": encoded(small, "WEBP", lossless=True),
        "i.avif": encoded(small, "AVIF"),
        "j.bmp": encoded(small, "BMP"),
        "k.tif": encoded(small, "TIFF", compression="tiff_lzw"),
        "l.tif": written(".tiff", deep),
        "m.tif": written(".tiff", deep.astype(np.float32)),
    }
    read, worst = in_a_fork(worst_of_damaged, seeds)
    assert read > 100
    assert worst <= CONSTANT
