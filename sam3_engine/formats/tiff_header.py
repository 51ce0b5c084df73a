"""The header of a TIFF file: also of the kinds that Pillow does not open, to read them otherwise or to say why not."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from PIL import ExifTags, Image, TiffImagePlugin

NO_DATA_TAG = 42113
"""GDAL's, as text."""

_NUMBERS = {
    1: "unsigned integers",
    2: "signed integers",
    3: "floats",
    5: "complex numbers",
    6: "complex numbers",
}
"""By the tag SampleFormat."""
_READ = (
    "integers of up to 16 bits and floats of 32 or 64 bits in 1, 3 or 4 channels, "
    "and integers of 32 bits in 1 channel"
)
_BITS = {"unsigned integers": range(1, 17), "signed integers": range(1, 17), "floats": (32, 64)}


@dataclass(frozen=True, slots=True)
class TiffHeader:
    """The header of the first picture.

    size: (width, height) of the upright picture. no_data: its value for no data. channels: their number, with alpha.
    bits: of the numbers in each of them. numbers: the kind of these, in words.
    """

    size: tuple[int, int]
    no_data: float | None
    channels: int
    bits: int
    numbers: str

    @property
    def refusal(self) -> str:
        """The message for a file that no reader has read."""
        one = self.channels == 1 and self.bits == 32
        if one or (self.channels in (1, 3, 4) and self.bits in _BITS.get(self.numbers, ())):
            return "this TIFF image is broken, or its layout or compression is none that can be read"
        channels = f"{self.channels} channel{'' if self.channels == 1 else 's'}"
        return f"this TIFF image has {channels} of {self.bits}-bit {self.numbers}, which are not read. Read are {_READ}"


def tiff_header(content: bytes) -> TiffHeader | None:
    """The header of a TIFF file, also of a kind that Pillow does not open; None for other files."""
    if content[:4] not in (b"II*\0", b"MM\0*"):
        return None
    try:
        file = BytesIO(content)
        tags = TiffImagePlugin.ImageFileDirectory_v2(file.read(8))
        file.seek(tags.next)
        tags.load(file)
        size = int(tags[TiffImagePlugin.IMAGEWIDTH]), int(tags[TiffImagePlugin.IMAGELENGTH])
        turned = tags.get(ExifTags.Base.Orientation) in (5, 6, 7, 8)
        return TiffHeader(
            size[::-1] if turned else size,
            _number(tags.get(NO_DATA_TAG)),
            int(tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1)),
            max(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))),
            _numbers(tags),
        )
    except Exception:  # a broken file makes the reader raise anything
        return None


def no_data_value(image: Image.Image) -> float | None:
    """The value that an opened TIFF file names as no data."""
    return (
        _number(image.tag_v2.get(NO_DATA_TAG)) if isinstance(image, TiffImagePlugin.TiffImageFile) else None
    )


def _numbers(tags: Mapping[int, Any]) -> str:
    (kind, *others) = set(tags.get(TiffImagePlugin.SAMPLEFORMAT, (1,)))
    return "numbers of several kinds" if others else _NUMBERS.get(kind, "numbers of an unknown kind")


def _number(text: object) -> float | None:
    with contextlib.suppress(TypeError, ValueError):
        return float(str(text).strip("\0 ")) if text is not None else None
    return None
