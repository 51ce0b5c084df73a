"""Video files made for tests: small, drawn, and broken in ways that are wanted."""

import struct
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
import numpy.typing as npt
from av.video.stream import VideoStream

Picture = npt.NDArray[np.uint8]


def write_video(
    path: Path,
    pictures: Iterable[Picture],
    *,
    codec: str = "libx264",
    rate: int = 25,
    times: Sequence[float] | None = None,
    options: dict[str, str] | None = None,
    movflags: str = "",
) -> Path:
    """A file of RGB pictures of one size with even sides. times: when each is shown, in seconds."""
    with av.open(str(path), "w", options={"movflags": movflags} if movflags else {}) as file:
        stream = cast(VideoStream, file.add_stream(codec, rate=rate, options=options or {}))
        for number, picture in enumerate(pictures):
            if number == 0:
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
                if times is not None:
                    stream.codec_context.time_base = Fraction(1, 1000)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if times is not None:
                frame.time_base = Fraction(1, 1000)
                frame.pts = round(times[number] * 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def numbered(count: int, height: int = 48, width: int = 64) -> Iterable[Picture]:
    """Pictures that tell their number by a white block, in the upper left quarter a dark one; 12 differ."""
    for number in range(count):
        picture = np.full((height, width, 3), 90, dtype=np.uint8)
        picture[: height // 2, : width // 2] = 10
        place = number % 12
        top, left = height // 2 + 8 * (place // 6), 8 * (place % 6)
        picture[top : top + 8, left : left + 8] = 255
        yield picture


def number_of(pixels: Picture) -> int:
    """The number, modulo 12, of a picture of `numbered` of the usual size."""
    brightness = [pixels[24 + 8 * (place // 6) :, 8 * (place % 6) :][:8, :8].mean() for place in range(12)]
    return int(np.argmax(brightness))


def rotated(path: Path, target: Path, degrees: int) -> Path:
    """A copy of an MP4 file that is to be shown turned clockwise, as phones write it: pixels unchanged."""
    content = bytearray(path.read_bytes())
    header = content.find(b"tkhd") + 4
    matrix = header + 4 + 20 + 16
    cosine, sine = {0: (1, 0), 90: (0, 1), 180: (-1, 0), 270: (0, -1)}[degrees]
    one = 1 << 16
    values = [cosine * one, sine * one, 0, -sine * one, cosine * one, 0, 0, 0, 1 << 30]
    content[matrix : matrix + 36] = struct.pack(">9i", *values)
    target.write_bytes(content)
    return target


def write_sound(path: Path) -> Path:
    """A file with a second of silence and no video."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("aac", rate=44100, layout="mono")
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 44100), dtype=np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate = 44100
        file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path
