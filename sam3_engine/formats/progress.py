"""Progress of decoding an image: about how long it will take, and that it goes on. The caller may stop it."""

from io import BytesIO

SCAN_NS = 4
"""Nanoseconds for each pixel and scan of a JPEG beyond the first scan."""
_PIXEL_NS = {"JPEG": 10, "MPO": 10, "BMP": 10, "AVIF": 60, "WEBP": 40}
_OTHER_NS, _DEEP_NS = 30, 100


class Progress:
    """Goes on at any cost of the picture. A subclass raises `errors.DecodingStopped` to stop."""

    def begin(self, seconds: float) -> None:
        """Called once, when the header is read. seconds: about what decoding takes, from the header alone."""

    def step(self) -> None:
        """Called every few rows, or every part of the file; not by WebP, AVIF and compressed TIFF of up to 8 bits."""


GOES_ON = Progress()


class WatchedFile(BytesIO):
    """A file in memory. A decoder that has read a part of it goes on only if the caller lets it."""

    def __init__(self, content: bytes, progress: Progress) -> None:
        super().__init__(content)
        self._progress = progress

    def read(self, size: int | None = -1, /) -> bytes:
        """Read the next bytes, as any file does, after one step of progress."""
        self._progress.step()
        return super().read(size)


def decoding_seconds(kind: str, pixels: int, *, deep: bool = False, scans: int = 1) -> float:
    """About the seconds of CPU that a picture takes to decode. kind: Pillow's name of its format; deep: more than 8
    bits per channel; scans: of a JPEG."""
    each = _DEEP_NS if deep else _PIXEL_NS.get(kind, _OTHER_NS)
    return pixels * (each + SCAN_NS * (scans - 1)) / 1e9
