"""The header of a TIFF file: also of the kinds that Pillow does not open, to read them otherwise or to say why not."""

import contextlib
from dataclasses import dataclass

from PIL import Image, TiffImagePlugin

from sam3_engine.errors import UnreadableImage
from sam3_engine.formats import tiff
from sam3_engine.formats.directories import Directory, read_directory

NO_DATA_TAG = 42113
"""GDAL's, as text."""
ORIENTATION = 274

_NUMBERS = {
    1: "unsigned integers",
    2: "signed integers",
    3: "floats",
    5: "complex numbers",
    6: "complex numbers",
}
"""Names of the kinds of numbers by the tag SampleFormat."""
_READ = "integers of up to 16, of 32 and of 64 bits and floats of 32 or 64 bits in 1, 3 or 4 channels"
_INTEGERS = (*range(1, 17), 32, 64)
_BITS = {"unsigned integers": _INTEGERS, "signed integers": _INTEGERS, "floats": (32, 64)}
_COMPRESSIONS = {34925: "LZMA", 50000: "Zstandard", 50001: "WebP", 34887: "LERC", 34712: "JPEG 2000"}
_PALETTE = 3


@dataclass(frozen=True, slots=True)
class TiffHeader:
    """The header of the first picture.

    size: (width, height) of the upright picture. no_data: its value for no data. channels: their number, with alpha.
    bits: of the numbers in each of them. numbers: the kind of these, in words. compression: the tag. palette: whether
    the numbers name colours.
    """

    size: tuple[int, int]
    no_data: float | None
    channels: int
    bits: int
    numbers: str
    compression: int
    palette: bool

    @property
    def refusal(self) -> str:
        """The message for a file that no reader has read."""
        if self.palette:
            return (
                f"this TIFF image has a palette of {self.bits}-bit numbers; palettes of up to 8 bits are read"
            )
        if self.channels in (1, 3, 4) and self.bits in _BITS.get(self.numbers, ()):
            if name := _COMPRESSIONS.get(self.compression):
                return (
                    f"this TIFF image has {self._kind} in {name} compression, which is not read for these; "
                    "save it with LZW, Deflate or no compression"
                )
            return "this TIFF image is broken, or its layout or compression is none that can be read"
        return f"this TIFF image has {self._kind}, which are not read. Read are {_READ}"

    @property
    def _kind(self) -> str:
        channels = f"{self.channels} channel{'' if self.channels == 1 else 's'}"
        return f"{channels} of {self.bits}-bit {self.numbers}"


def tiff_header(content: bytes) -> TiffHeader | None:
    """The header of a TIFF or BigTIFF file, also of a kind that Pillow does not open; None for other files."""
    try:
        directory = read_directory(content)
        if directory is None:
            return None
        size = int(directory.numbers(tiff.WIDTH)[0]), int(directory.numbers(tiff.LENGTH)[0])
    except (IndexError, UnreadableImage):
        return None
    turned = directory.numbers(ORIENTATION, (1,))[0] in (5, 6, 7, 8)
    return TiffHeader(
        size[::-1] if turned else size,
        _number(directory.raw(NO_DATA_TAG).decode("latin-1")),
        directory.numbers(tiff.SAMPLES, (1,))[0],
        max(directory.numbers(tiff.BITS, (1,))),
        _numbers(directory),
        directory.numbers(tiff.COMPRESSION, (1,))[0],
        directory.numbers(tiff.PHOTOMETRIC) == [_PALETTE],
    )


def no_data_value(image: Image.Image) -> float | None:
    """The value that an opened TIFF file names as no data."""
    return (
        _number(image.tag_v2.get(NO_DATA_TAG)) if isinstance(image, TiffImagePlugin.TiffImageFile) else None
    )


def white_is_zero(image: Image.Image) -> bool:
    """True for an opened TIFF file whose largest value is black and whose zero is white."""
    return isinstance(image, TiffImagePlugin.TiffImageFile) and image.tag_v2.get(tiff.PHOTOMETRIC) == 0


def misread(image: Image.Image) -> str | None:
    """The dtype of an opened TIFF file's grey values, where Pillow takes them for others of the same size."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return None
    kind, bits = (image.tag_v2.get(tag, (1,)) for tag in (tiff.SAMPLE_FORMAT, tiff.BITS))
    return {("L", 2, 8): "i1", ("I", 1, 32): "u4"}.get((image.mode, kind[0], bits[0]))


def _numbers(directory: Directory) -> str:
    (kind, *others) = set(directory.numbers(tiff.SAMPLE_FORMAT, (1,)))
    return "numbers of several kinds" if others else _NUMBERS.get(kind, "numbers of an unknown kind")


def _number(text: object) -> float | None:
    with contextlib.suppress(TypeError, ValueError):
        return float(str(text).strip("\0 ")) if text is not None else None
    return None
