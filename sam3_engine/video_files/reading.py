"""Reads the frames of a video file, one at a time. Needs no torch.

- A frame's number counts the frames in the order in which they are shown, from 0. Its time is the file's own, so that
  a variable rate is kept.
- Frames are upright: the file's rotation is applied. Each has its own size, which may change within a file.
- Of a file that is cut or damaged, the frames that can be decoded are read, and `Video.damage` tells. One without a
  single frame is refused.
- Frames far beyond the limit of pixels are not decoded, as a few of them could take all memory: they count as damage.
- Sound, subtitles and covers are no video. Playlists are refused: they name other files.
- Samples are taken as they are stored: pixels that are not square, and interlaced fields, are not changed, and high
  dynamic range is not mapped.

Memory does not depend on the length: one frame is decoded ahead at most, by one thread.
"""

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
import numpy.typing as npt
from av.container import InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

from sam3_engine.errors import UnreadableVideo, VideoTooLarge
from sam3_engine.types import ImageSize

FORMATS = (
    *("mov", "mp4", "matroska", "webm", "avi", "mpegts", "mpeg", "mpegvideo", "h264", "hevc", "obu", "ivf"),
    *("flv", "ogg", "asf", "gif", "m4v"),
)
"""Containers that are opened, by FFmpeg's names. None of them names other files."""
TRIMMED = 0.95
"""Share of the frames or seconds that a file says it has, below which it counts as cut. Editors hide some at both
ends."""
DURATION = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)")
FAR = 4
"""Times the limit of pixels from which on the decoder refuses a frame. Below it, `VideoTooLarge` tells its size."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Most frames of a video, and most pixels of a frame; None: any number."""

    frames: int | None = None
    pixels: int | None = None


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a file says of itself; it may be wrong. size: of the first frame as it is stored; rate: frames a second in
    the mean; frames and seconds: None where the file does not say."""

    size: ImageSize
    rate: float | None
    frames: int | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame. number: from 0; seconds: when it is shown, from the first frame on; pixels: uint8 [H, W, 3] RGB,
    upright."""

    number: int
    seconds: float
    pixels: npt.NDArray[np.uint8]

    @property
    def size(self) -> ImageSize:
        """Height and width."""
        return ImageSize(*self.pixels.shape[:2])


class Video:
    """An opened file. Make one with `open_video`; its frames can be read once."""

    def __init__(self, container: InputContainer, stream: VideoStream, limits: Limits) -> None:
        self._container, self._stream, self._limits = container, stream, limits
        self.damage: str | None = None
        """The sentence about damage of the file, once its frames have been read; None where there is none."""
        context, seconds = stream.codec_context, container.duration
        self.info = VideoInfo(
            ImageSize(context.height, context.width),
            float(stream.average_rate) if stream.average_rate else None,
            stream.frames or None,
            seconds / av.time_base if seconds else None,
        )
        self._length = _length(container, stream)
        _check_pixels(self.info.size, limits)
        if limits.frames is not None and (self.info.frames or 0) > limits.frames:
            raise VideoTooLarge(f"the video has {self.info.frames} frames, and may have {limits.frames}")

    def frames(self, first: int = 0) -> Iterator[Frame]:
        """The frames from number `first` on. Earlier ones are decoded, but not converted.

        Raises UnreadableVideo where the file has no frame at all, and VideoTooLarge.
        """
        return (frame for frame in self.passing(first) if frame is not None)

    def passing(self, first: int) -> Iterator[Frame | None]:
        """As `frames`, with None for each earlier frame: the caller may pause there. Raises as `frames`."""
        number, began, last = 0, None, 0.0
        longest = 1 / (self.info.rate or 25.0)  # for which a frame is shown
        for decoded in self._decoded():
            if self._limits.frames is not None and number >= self._limits.frames:
                raise VideoTooLarge(f"the video has more than {self._limits.frames} frames")
            _check_pixels(ImageSize(decoded.height, decoded.width), self._limits)
            if (
                decoded.pts is None
            ):  # some files have no times: frames then follow one another at the mean rate
                time = (began or 0.0) + number / (self.info.rate or 25.0)
            else:
                time = decoded.time
            began = time if began is None else began
            longest = max(longest, time - began - last)
            last = max(last, time - began)
            yield Frame(number, last, _upright(decoded)) if number >= first else None
            number += 1
        if not number:
            raise UnreadableVideo(
                f"the video has no frame that can be decoded ({self.damage or 'it is empty'})"
            )
        if self.damage is None:
            self.damage = self._missing(number, (began or 0.0) + last + longest)

    def _missing(self, number: int, end: float) -> str | None:
        """What the file says it has, where that is more than was read. end: seconds when the last frame ends."""
        said = self.info.frames
        if said is not None:
            return f"the file says {said} frames, and has {number}" if number < TRIMMED * said else None
        if self._length is not None and end < TRIMMED * self._length:
            return f"the file says {self._length:.2f} seconds, and its frames end after {end:.2f}"
        return None

    def _decoded(self) -> Iterator[av.VideoFrame]:
        """Frames, over what is damaged between them."""
        damaged = 0
        for packet in self._packets():
            try:
                frames = packet.decode()
            except av.FFmpegError:
                damaged += 1
                frames = []
            for frame in frames:
                damaged += frame.is_corrupt
                yield frame
            if damaged:
                self.damage = f"the file is damaged in {damaged} place{'s' * (damaged > 1)}"

    def _packets(self) -> Iterator["av.Packet[VideoStream]"]:
        try:
            yield from self._container.demux(self._stream)
        except av.FFmpegError as error:
            self.damage = _reason(error)


@contextmanager
def open_video(source: str | Path | BinaryIO, limits: Limits = Limits()) -> Iterator[Video]:
    """Open a video file, or a file object that can seek, until the end of the block.

    Raises UnreadableVideo for anything that is no video, OSError for a file that cannot be opened, and VideoTooLarge
    where the file says so of itself.
    """
    with ExitStack() as opened:
        if isinstance(source, str | Path):  # not FFmpeg: a name could be one of its protocols
            source = opened.enter_context(Path(source).open("rb"))
        bounds = {} if limits.pixels is None else {"max_pixels": str(FAR * limits.pixels)}
        options = {"format_whitelist": ",".join(FORMATS), **bounds}
        try:
            container = av.open(source, "r", options=options, metadata_errors="ignore")
        except (av.FFmpegError, ValueError, OSError) as error:
            raise UnreadableVideo(f"this is no video file that can be read: {_reason(error)}") from error
        opened.enter_context(container)
        stream = _stream(container)
        stream.codec_context.options = bounds
        yield Video(container, stream, limits)


def _stream(container: InputContainer) -> VideoStream:
    pictures = [one for one in container.streams.video if not one.disposition & Disposition.attached_pic]
    if not pictures:
        raise UnreadableVideo("the file has no video stream")
    if pictures[0].codec_context is None:
        raise UnreadableVideo("this installation has no decoder for the video's format")
    pictures[0].codec_context.thread_count = 1
    return pictures[0]


def _length(container: InputContainer, stream: VideoStream) -> float | None:
    """Seconds of the video stream as the file says them; None where it does not say, or only for sound as well."""
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    if found := DURATION.match(stream.metadata.get("DURATION", "")):  # Matroska
        hours, minutes, seconds = map(float, found.groups())
        return 3600 * hours + 60 * minutes + seconds
    return container.duration / av.time_base if container.duration and len(container.streams) == 1 else None


def _upright(frame: av.VideoFrame) -> npt.NDArray[np.uint8]:
    pixels = np.asarray(frame.to_ndarray(format="rgb24"), dtype=np.uint8)
    turns = (
        round(frame.rotation / 90) % 4 if abs(frame.rotation) <= 360 else 0
    )  # a matrix that is no rotation
    return np.ascontiguousarray(np.rot90(pixels, turns)) if turns else pixels


def _check_pixels(size: ImageSize, limits: Limits) -> None:
    pixels = size.height * size.width
    if limits.pixels is not None and pixels > limits.pixels:
        raise VideoTooLarge(
            f"a frame of {size.width} x {size.height} has {pixels} pixels, and may have {limits.pixels}"
        )


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
