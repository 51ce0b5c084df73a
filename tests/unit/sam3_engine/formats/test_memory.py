"""Decoding any file takes at most 8 bytes for each pixel and a constant, or the file is refused.

Here one or two files of each format are tried; `make drill ONLY=decoding_memory` tries all.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.support.decoding_memory import CONSTANT, READ, REFUSED, ROOT, decoded, written
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
def test_decoding_takes_eight_bytes_a_pixel_and_a_constant(name: str, tmp_path: Path) -> None:
    results = [*decoded(READ[name](), tmp_path)]
    assert [refusal for *_, refusal in results] == ["", ""]
    for pixels, taken, _ in results:
        assert taken <= 8 * int(pixels) + CONSTANT


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_would_take_more_is_refused_and_takes_nothing(name: str, tmp_path: Path) -> None:
    results = [*decoded(REFUSED[name](), tmp_path)]
    assert [pixels for pixels, *_ in results] == ["refused", "refused"]
    for _, taken, refusal in results:
        assert "MiB to decode" in refusal
        assert taken <= CONSTANT


DAMAGED = """
import random, sys
from contextlib import suppress
from pathlib import Path
from sam3_engine.errors import ImageTooLarge, UnreadableImage
from sam3_engine.images import decode_image, lift_pillow_limit, probe

def memory(line):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(text.split()[1]) * 1024 for text in lines if text.startswith(line))

lift_pillow_limit()
chance, read, worst = random.Random(7), 0, 0
for file in sorted(Path(sys.argv[1]).iterdir()):
    whole = file.read_bytes()
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
print(read, worst)
"""


def test_damaged_files_take_no_more_than_the_pixels_that_they_claim(tmp_path: Path) -> None:
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
    for name, content in seeds.items():
        (tmp_path / name).write_bytes(content)
    command = [sys.executable, "-W", "ignore", "-c", DAMAGED, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    read, worst = map(int, done.stdout.split())
    assert read > 100
    assert worst <= CONSTANT
