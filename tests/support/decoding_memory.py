"""Files of every format whose pictures are large, and the memory that decoding one takes.

Each file is decoded in a process of its own, whose peak the kernel measures: a fork of one that has imported all.
"""

import multiprocessing
import zlib
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from sam3_engine.errors import ImageTooLarge
from sam3_engine.images import decode_image, lift_pillow_limit, open_upright
from tests.support.image_files import encoded, grey_tiff, png_of

Result = TypeVar("Result")
CONSTANT = 160 * 2**20


def memory(line: str) -> int:
    """Bytes of this process, as the kernel counts them."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(text.split()[1]) * 1024 for text in lines if text.startswith(line))


def peaks(content: bytes) -> list[tuple[str, int, str]]:
    """What decoding took of the memory of this process: see `decoded`."""
    lift_pillow_limit()
    found = []
    for read in (partial(decode_image, target=1008), open_upright):
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = memory("VmRSS")
        try:
            width, height = read(content, max_pixels=120_000_000).size
            found.append((str(width * height), memory("VmHWM") - before, ""))
        except ImageTooLarge as error:
            found.append(("refused", memory("VmHWM") - before, str(error)))
    return found


def plain(mode: str, width: int = 4000, height: int = 3000) -> Image.Image:
    """A picture of one colour, half transparent where it can be."""
    colour = {"RGB": (9, 99, 199), "RGBA": (9, 99, 199, 128), "CMYK": (9, 99, 199, 50), "LA": (9, 128)}
    return Image.new(mode, (width, height), colour.get(mode, 1))


def paletted(width: int = 4000, height: int = 3000) -> Image.Image:
    image = Image.new("P", (width, height), 1)
    image.putpalette([1, 2, 3, 40, 50, 60])
    return image


def written(extension: str, values: npt.NDArray[Any], *options: int) -> bytes:
    done, content = cv2.imencode(extension, values, options)
    assert done
    return content.tobytes()


def tiff_of(dtype: type, channels: int, rows: int, compression: int = 5, side: int = 3500) -> bytes:
    values: npt.NDArray[Any] = np.full((side, side, channels), 3, dtype=dtype)
    values[: side // 2] = 200
    options = (cv2.IMWRITE_TIFF_COMPRESSION, compression, cv2.IMWRITE_TIFF_ROWSPERSTRIP, rows)
    return written(".tiff", values, *options)


def tiff_strip(dtype: type, side: int) -> bytes:
    """A TIFF of colours in one compressed strip, which OpenCV does not write."""
    tifffile = pytest.importorskip("tifffile")
    file = BytesIO()
    colours: npt.NDArray[Any] = np.zeros((side, side, 3), dtype)
    tifffile.imwrite(file, colours, photometric="rgb", rowsperstrip=side, compression="zlib")
    return file.getvalue()


READ: dict[str, Callable[[], bytes]] = {
    "PNG, colours": lambda: png_of(5000, 4000, 8, 2, 3),
    "PNG, transparent": lambda: encoded(plain("RGBA"), "PNG"),
    "PNG, transparent everywhere": lambda: png_of(5000, 4000, 8, 6, 4),
    "PNG, grey and transparent": lambda: encoded(plain("LA"), "PNG"),
    "PNG, transparent palette": lambda: encoded(paletted(), "PNG", transparency=1),
    "PNG, transparent colour": lambda: encoded(plain("RGB"), "PNG", transparency=(1, 2, 3)),
    "PNG, 16 bits of grey": lambda: png_of(5000, 4000, 16, 0, 1),
    "PNG, 16 bits of colours": lambda: png_of(5000, 4000, 16, 2, 3),
    "PNG, 16 bits, transparent": lambda: png_of(5000, 4000, 16, 6, 4),
    "PNG, 16 bits, grey and transparent": lambda: png_of(5000, 4000, 16, 4, 2),
    "PNG, 16 bits, interlaced": lambda: png_of(2000, 2000, 16, 2, 3, interlaced=1),
    "PNG of one transparent column": lambda: png_of(1, 4_000_000, 8, 6, 4),
    "PNG of one transparent row": lambda: png_of(20_000_000, 1, 8, 6, 4),
    "PNG of long rows of 16 bits": lambda: png_of(1_000_000, 10, 16, 2, 3),  # libpng takes no longer ones
    "JPEG": lambda: encoded(plain("RGB", 9000, 2900), "JPEG"),
    "JPEG, progressive": lambda: encoded(plain("RGB", 9000, 2900), "JPEG", progressive=True, subsampling=0),
    "JPEG, progressive, four colours": lambda: encoded(plain("CMYK"), "JPEG", progressive=True),
    "GIF": lambda: encoded(paletted(), "GIF"),
    "GIF, transparent": lambda: encoded(paletted(), "GIF", transparency=0),
    "BMP": lambda: encoded(plain("RGB"), "BMP"),
    "WEBP": lambda: encoded(plain("RGB"), "WEBP", method=0),
    "WEBP, transparent": lambda: encoded(plain("RGBA"), "WEBP", method=0),
    "WEBP, transparent, without loss": lambda: encoded(plain("RGBA"), "WEBP", lossless=True, method=0),
    "AVIF": lambda: encoded(plain("RGB"), "AVIF", speed=10),
    "AVIF, transparent": lambda: encoded(plain("RGBA"), "AVIF", speed=10, subsampling="4:4:4"),
    "TIFF": lambda: encoded(plain("RGB"), "TIFF", compression="tiff_lzw"),
    "TIFF, one transparent strip": lambda: encoded(
        plain("RGBA"), "TIFF", compression="tiff_lzw", strip_size=2**30
    ),
    "TIFF, floats": lambda: tiff_of(np.float32, 1, 64),
    "TIFF, coloured floats": lambda: tiff_of(np.float32, 3, 64),
    "TIFF, coloured floats, not compressed, in one strip": lambda: tiff_of(np.float32, 3, 3500, 1),
    "TIFF, coloured doubles": lambda: tiff_of(np.float64, 4, 16, side=3000),
    "TIFF, whole numbers": lambda: tiff_of(np.int32, 1, 64),
    "TIFF, 16 bits of colours": lambda: tiff_of(np.uint16, 3, 64),
    "TIFF, 16 bits of colours in one strip": lambda: tiff_strip(np.uint16, 3500),
    "TIFF of tiles that stick out": lambda: grey_tiff(
        64, 48, zlib.compress(bytes(2**22)), t322=(4, [2**11]), t323=(4, [2**11])
    ),
}
REFUSED: dict[str, Callable[[], bytes]] = {
    "PNG of 16 bits, interlaced": lambda: png_of(8000, 4000, 16, 6, 4, interlaced=1),
    "TIFF of floats in one compressed strip": lambda: tiff_strip(np.float32, 3500),
    "TIFF of doubles in one compressed strip": lambda: tiff_strip(np.float64, 2600),
    "JPEG, progressive, very wide": lambda: encoded(
        plain("CMYK", 30_000, 1500), "JPEG", progressive=True, quality=20
    ),
    "WEBP, animated": lambda: encoded(
        plain("RGBA"), "WEBP", save_all=True, append_images=[Image.new("RGBA", (4000, 3000))], method=0
    ),
    "AVIF": lambda: encoded(plain("RGBA", 6000, 3000), "AVIF", speed=10),
}


def in_a_fork(function: Callable[..., Result], *given: Any) -> Result:
    """The result of a function of a module, called in a process of its own."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(1, context) as one:
        return one.submit(function, *given).result()


def decoded(content: bytes) -> list[tuple[str, int, str]]:
    """Pixels or "refused", the bytes that decoding took, and the refusal: for the model's square, and for the whole
    picture."""
    return in_a_fork(peaks, content)
