"""OpenCV's decoders, for what Pillow's do not read or read at a higher cost."""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Values = npt.NDArray[Any]
"""[H, W] or [H, W, 3 or 4], the colours in the order R, G, B, alpha."""


def read(content: bytes | bytearray, bits: int = 1) -> Values | None:
    """The first picture of a file in its own depth, a TIFF's upright; None where OpenCV cannot read it.

    bits: of a number in the file. OpenCV answers with zeros of 8 bits where it cannot read the numbers of a TIFF file.
    """
    level = cv2.getLogLevel()
    cv2.setLogLevel(0)  # it would write about broken files to the screen
    try:
        values = cv2.imdecode(np.frombuffer(content, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    finally:
        cv2.setLogLevel(level)
    if values is None or values.dtype.itemsize * 8 < bits:
        return None
    if values.ndim == 2:
        return values
    if (order := _ORDERS.get(values.shape[2])) is None:
        return None
    if values.dtype in (np.uint8, np.uint16, np.float32):
        return cv2.cvtColor(values, order[0], dst=values)  # in place
    return values[..., order[1]]


_ORDERS = {3: (cv2.COLOR_BGR2RGB, [2, 1, 0]), 4: (cv2.COLOR_BGRA2RGBA, [2, 1, 0, 3])}
