"""The pixels of one run, in its worker: input files decoded, and every image named by what it shows.

A SAM 3 step is given pixels. Those of an input file, whichever step hands them on, are asked about as that file, so
that the embedding is the one that the other routes use; all others as pixels. A changed image has another name.
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
    """Input files are decoded once. Pixels are uint8 BGR [H, W, 3], as the engine wants them."""

    def __init__(self, files: Sequence[bytes], max_pixels: int) -> None:
        self._files = files
        self._max_pixels = max_pixels
        self._decoded: dict[int, Pixels] = {}
        self._file_of: dict[bytes, int] = {}

    def decode(self, file: int) -> Pixels:
        """A file's upright pixels. Raises UnreadableImage, ImageTooLarge."""
        if file not in self._decoded:
            image = open_upright(self._files[file], max_pixels=self._max_pixels)
            content = bytearray(image.tobytes("raw", "BGR"))  # a block may paint on it
            pixels = np.frombuffer(content, dtype=np.uint8).reshape(image.height, image.width, 3)
            self._decoded[file] = pixels
            self._file_of[_name(pixels)] = file
        return self._decoded[file]

    def describe(self, image: Any) -> tuple[Header, list[memoryview]]:
        """How the runner is told of an image: its file, or its shape and pixels (RGB). Raises ValueError."""
        pixels = _bgr(image)
        file = self._file_of.get(_name(pixels))
        if file is not None:
            return {"file": file}, []
        rgb = np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), dtype=np.uint8)
        return {"shape": list(rgb.shape)}, [rgb.data.cast("B")]


def _name(pixels: Pixels) -> bytes:
    # Compared with the other images of one run alone, so nobody gains by making two names equal.
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
