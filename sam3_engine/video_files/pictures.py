"""A video file made of the pictures of image files, each a frame. Needs no torch."""

import io
from collections.abc import Callable, Iterable
from fractions import Fraction
from itertools import count

import av
import cv2
import numpy as np

from sam3_engine.errors import ImageTooLarge, UnreadableImage
from sam3_engine.images import open_upright
from sam3_engine.types import ImageSize

RATE = Fraction(25)
QUALITY = 95
"""Of the JPEG that each frame becomes."""


class BadFrame(Exception):
    """A picture cannot be a frame. index: its place. error: why."""

    def __init__(self, index: int, error: UnreadableImage | ImageTooLarge) -> None:
        super().__init__(f"frame {index}: {error}")
        self.index = index
        self.error = error


def film_of(
    contents: Iterable[bytes],
    *,
    max_pixels: int | None = None,
    max_bytes: int | None = None,
    go_on: Callable[[], bool] = lambda: True,
) -> bytes:
    """A video of image files (motion JPEG in Matroska), empty where there is none or `go_on` says no between two.

    Every frame is decoded, so that none is missing later. Raises BadFrame for a picture that cannot be read or has
    another size than the first one, UnreadableImage of `contents` included; OverflowError as soon as the file has more
    than `max_bytes`.
    """
    file = io.BytesIO()
    first: ImageSize | None = None
    with av.open(file, "w", format="matroska") as film:
        stream = film.add_stream("mjpeg", rate=RATE)
        coming = iter(contents)
        for number in count():
            if not go_on():
                return b""
            try:
                content = next(coming, None)
                if content is None:
                    break
                picture = np.asarray(open_upright(content, max_pixels=max_pixels))
                size = ImageSize(*picture.shape[:2])
                if first is not None and size != first:
                    raise UnreadableImage(f"it has {_pixels(size)}, and the first frame has {_pixels(first)}")
            except (UnreadableImage, ImageTooLarge) as error:
                raise BadFrame(number, error) from error
            if first is None:
                first = size
                stream.width, stream.height, stream.pix_fmt = size.width, size.height, "yuvj420p"
            bgr = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
            _, coded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
            packet = av.Packet(coded.tobytes())
            packet.stream, packet.time_base, packet.is_keyframe = stream, 1 / RATE, True
            packet.pts = packet.dts = number
            film.mux(packet)
            if max_bytes is not None and file.tell() > max_bytes:
                raise OverflowError
    return b"" if first is None else file.getvalue()


def _pixels(size: ImageSize) -> str:
    return f"{size.width} x {size.height} pixels"
