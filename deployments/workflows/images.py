"""The images of one run, in its worker: decodes input files, and recognises their pixels by a digest.

A SAM 3 step receives pixels. When they are those of an input file, the runner is asked about this file, so that the
embedding is the one that the other routes use. In every other case the pixels themselves are sent.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import xxhash

from deployments.workflows.frames import Header
from sam3_engine.images import open_upright

Pixels = npt.NDArray[np.uint8]


class RunImages:
    """Decodes each input file once. Pixels are uint8 BGR [H, W, 3], the engine's order."""

    def __init__(self, files: Sequence[bytes], max_pixels: int) -> None:
        self._files = files
        self._max_pixels = max_pixels
        self._decoded: dict[int, Pixels] = {}
        self._file_of: dict[bytes, int] = {}

    def decode(self, file: int) -> Pixels:
        """A file's upright pixels. Raises UnreadableImage, ImageTooLarge."""
        if file not in self._decoded:
            image = open_upright(self._files[file], max_pixels=self._max_pixels)
            content = bytearray(image.tobytes("raw", "BGR"))  # writable: a block may draw on the image
            pixels = np.frombuffer(content, dtype=np.uint8).reshape(image.height, image.width, 3)
            self._decoded[file] = pixels
            self._file_of[_name(pixels)] = file
        return self._decoded[file]

    def describe(self, image: Any) -> tuple[Header, list[memoryview]]:
        """The message that describes an image to the runner: a file's number, or pixels. Raises ValueError."""
        pixels = _bgr(image)
        file = self._file_of.get(_name(pixels))
        if file is not None:
            return {"file": file}, []
        rgb = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), dtype=np.uint8)
        return {"shape": list(rgb.shape)}, [rgb.data.cast("B")]


def _name(pixels: Pixels) -> bytes:
    # Only images of the same run are compared, so a forged collision gains nothing.
    height, width = pixels.shape[:2]
    content = xxhash.xxh3_128(b"%dx%d:" % (height, width))
    content.update(np.ascontiguousarray(pixels).data)
    return content.digest()


def _bgr(image: Any) -> Pixels:
    pixels = image["value"] if isinstance(image, dict) else image
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.size == 0:
        raise ValueError("SAM 3 needs an image of 8-bit pixels that is not empty")
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR), dtype=np.uint8)
    if pixels.shape[2] == 4:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGRA2BGR), dtype=np.uint8)
    return pixels
