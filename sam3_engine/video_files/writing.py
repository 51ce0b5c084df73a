"""Writes a film of pictures as H.264, which browsers and phones play. Needs no torch."""

from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import cv2
import numpy as np
import numpy.typing as npt

SECOND = 90_000
"""Ticks of a second, as in MPEG: any usual rate is exact."""


class Film:
    """A video file under way, closed at the end of a block. All pictures get the size of the first; odd sides lose
    their last line. The file has no sound."""

    def __init__(self, path: Path, rate: float | None) -> None:
        """rate: pictures a second in the mean, for players that ask; each picture has a time of its own."""
        self._file = av.open(str(path), "w", format="mp4")
        self._rate = Fraction(rate or 25.0).limit_denominator(1001)
        self._stream: av.VideoStream | None = None
        self._last = -1

    def add(self, picture: npt.NDArray[np.uint8], seconds: float) -> None:
        """The next picture, uint8 [H, W, 3] RGB. seconds: when it is shown; later than the one before."""
        if self._stream is None:
            height, width = picture.shape[:2]
            self._stream = self._file.add_stream(
                "libx264", rate=self._rate, options={"preset": "fast", "crf": "20"}
            )
            self._stream.height, self._stream.width = max(2, height & ~1), max(2, width & ~1)
            self._stream.pix_fmt = "yuv420p"
            self._stream.codec_context.time_base = Fraction(1, SECOND)
        size = (self._stream.width, self._stream.height)
        if picture.shape[0] & ~1 == size[1] and picture.shape[1] & ~1 == size[0]:
            picture = picture[: size[1], : size[0]]
        else:
            picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        frame.time_base = Fraction(1, SECOND)
        frame.pts = self._last = max(round(seconds * SECOND), self._last + 1)
        self._file.mux(self._stream.encode(frame))

    def __enter__(self) -> "Film":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None and kind is None:
            self._file.mux(self._stream.encode())
        self._file.close()
