"""Decodes the bytes of an image file to the model's input: an upright RGB square of uint8. Needs no torch.

Three rules beyond what the formats say. Transparency is laid over white, but an alpha channel that is 0 everywhere
hides a whole picture and is ignored. More than 8 bits per channel: see `deep`. A JPEG is scaled while it is decoded as
far as one and a half times the model's side is left of both of its sides.

The pixel count in the header is checked before anything is decoded. Only common raster formats are opened: Pillow's
other readers (EPS, PSD, ...) run interpreters or are rarely audited. An animation counts as its first frame.
"""

import math
from dataclasses import dataclass
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from sam3_engine.deep import is_deep, read_whole, to_eight_bits
from sam3_engine.errors import ImageTooLarge, UnreadableImage
from sam3_engine.png import picture_only
from sam3_engine.tiff import TiffHeader, no_data_value, tiff_header
from sam3_engine.types import ImageSize

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF")
"""Readable formats. "JPEG" includes MPO, a JPEG of several pictures, which phones write."""

PREPROCESSING = 2
"""Version of the way from a file to the model's input. A change makes every stored embedding unusable.

1: every JPEG of twice the model's side was scaled while it was decoded; deep pictures kept their upper 8 bits.
"""

_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The transposition that makes an image upright, by EXIF orientation (CIPA DC-008, 4.6.4 A); 1 is upright."""


_JPEG = ("JPEG", "MPO")

DRAFT = 1.5
"""A JPEG's decoder scales by 2, 4 or 8 as long as so many times the target is left. Measured with `tiny` on drawn
scenes and on detailed pictures of 2 to 8 times the target: the masks' median IoU with those of the whole picture is at
least 0.9994 and 0.998 from 1.5 times on, and 0.9977 and 0.994 for exactly the target."""


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """Contents of an image's header. `format` is one of FORMATS, or "MPO"; `size` is that of the upright image."""

    format: str
    size: ImageSize


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """A decoded image. size: of the upright original, in pixels; square: uint8 [S, S, 3] RGB, the whole image
    resized to a square."""

    size: ImageSize
    square: npt.NDArray[np.uint8]


def lift_pillow_limit() -> None:
    """Switch Pillow's own pixel limit off in this process: Pillow warns beyond 89 and refuses beyond 179 megapixels.

    Only for a process that always passes `max_pixels`, such as the server.
    """
    Image.MAX_IMAGE_PIXELS = None


def probe(content: bytes) -> ImageInfo:
    """Format and size from the header; nothing is decoded.

    A PNG may hold its EXIF orientation behind its pixels; then it is ignored here. Raises UnreadableImage, and
    ImageTooLarge beyond Pillow's own limit (see `lift_pillow_limit`).
    """
    content = picture_only(content)
    try:
        with _open(content) as image:
            return ImageInfo(str(image.format), _upright_size(image.size, _orientation(image)))
    except _UnknownTiff as tiff:
        return ImageInfo("TIFF", _upright_size(tiff.header.size, 1))


def decode_image(content: bytes, *, max_pixels: int | None, target: int) -> DecodedImage:
    """Decode an image file and resize it to the model's square of side `target`.

    A large JPEG is scaled while it is decoded, which saves most of the work: see DRAFT. Raises UnreadableImage for an
    empty, unknown, broken or truncated file. Raises ImageTooLarge, before decoding, beyond `max_pixels` pixels and
    beyond Pillow's own limit (see `lift_pillow_limit`).
    """
    content = picture_only(content)
    try:
        with _open(content, max_pixels) as image:
            stored, covered = image.size, None
            if image.format in _JPEG:
                scaled = image.draft(image.mode, (math.ceil(DRAFT * target),) * 2)
                # The last block may stick out of the picture, by part of a pixel of the scaled one.
                covered = scaled[1] if scaled else None
            picture, orientation = _load(image, content)
    except _UnknownTiff as tiff:
        picture, orientation, covered = _read_unknown(tiff, content), 1, None
        stored = picture.size
    square = _upright(_resize(picture, target, covered), orientation)
    return DecodedImage(_upright_size(stored, orientation), np.array(square))


def open_upright(content: bytes, *, max_pixels: int | None = None) -> Image.Image:
    """Decode an image file at its own size: upright, RGB. Raises the errors of `decode_image`."""
    content = picture_only(content)
    try:
        with _open(content, max_pixels) as image:
            picture, orientation = _load(image, content)
    except _UnknownTiff as tiff:
        picture, orientation = _read_unknown(tiff, content), 1
    return _upright(_flatten(picture), orientation)


def decode_picture(image: Image.Image, target: int) -> DecodedImage:
    """Resize a Pillow image of any mode to the model's square of side `target`.

    Antialiased bilinear on uint8, as torchvision's v2.Resize in the package's Sam3Processor: equal to within
    one grey level, rarely two. As in a file: the EXIF orientation that the image still carries, transparency, and
    greyscale of more than 8 bits. Colours of more than 8 bits have lost the lower ones in Pillow.
    """
    picture, orientation = _eight_bit(image), _orientation(image)
    square = _upright(_resize(picture, target), orientation)
    return DecodedImage(_upright_size(image.size, orientation), np.array(square))


class _UnknownTiff(Exception):
    """A TIFF file whose numbers Pillow does not know, such as float colours."""

    def __init__(self, header: TiffHeader) -> None:
        super().__init__()
        self.header = header


def _open(content: bytes, max_pixels: int | None = None) -> Image.Image:
    """Read the header and check the pixel count."""
    if not content:
        raise UnreadableImage("the image is empty (0 bytes)")
    try:
        image = Image.open(BytesIO(content), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageTooLarge("the image has more pixels than this installation opens") from error
    except UnidentifiedImageError:
        if (header := tiff_header(content)) is not None:
            _check_pixels(header.size, max_pixels)
            raise _UnknownTiff(header) from None
        message = f"not an image, or not of a known format ({', '.join(FORMATS)})"
        raise UnreadableImage(message) from None
    except Exception as error:  # a broken file makes a reader raise anything
        raise UnreadableImage(f"the image has a broken header: {error}") from error
    try:
        _check_pixels(image.size, max_pixels)
    except ImageTooLarge:
        image.close()
        raise
    return image


def _check_pixels(size: tuple[int, int], max_pixels: int | None) -> None:
    width, height = size
    if max_pixels is None:
        max_pixels = Image.MAX_IMAGE_PIXELS and 2 * Image.MAX_IMAGE_PIXELS  # beyond which Pillow refuses
    if max_pixels is not None and width * height > max_pixels:
        raise ImageTooLarge(
            f"the image has {width} x {height} = {width * height / 1e6:.1f} megapixels, "
            f"more than the {max_pixels / 1e6:.1f} that are allowed"
        )


def _read_unknown(tiff: _UnknownTiff, content: bytes) -> Image.Image:
    values = read_whole(content)
    if values is None or not tiff.header.describes(values):
        raise UnreadableImage(tiff.header.refusal)
    return _seen(Image.fromarray(to_eight_bits(values, tiff.header.no_data)))


def _load(image: Image.Image, content: bytes) -> tuple[Image.Image, int]:
    """Decode the pixels; returns the picture as L, RGB or RGBA, and its EXIF orientation, which is still to be
    undone."""
    deep, no_data = is_deep(image), no_data_value(image)
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:  # a broken file makes a decoder raise anything
        raise UnreadableImage(f"broken or truncated {image.format} image: {error}") from error
    if deep and image.mode in ("RGB", "RGBA", "LA"):  # of which Pillow keeps the upper 8 bits
        values = read_whole(content)
        if values is not None and values.shape[:2] == (image.height, image.width):
            return _seen(Image.fromarray(to_eight_bits(values, no_data))), _orientation(image)
    return _eight_bit(image, no_data), _orientation(image)


def _orientation(image: Image.Image) -> int:
    if image.format == "TIFF":  # Pillow makes a TIFF upright itself, its size included
        return 1
    try:
        # The base class's method: PngImageFile's would decode the pixels to look for EXIF behind them.
        return int(Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1))
    except Exception:  # broken metadata does not make the picture unreadable
        return 1


def _upright_size(stored: tuple[int, int], orientation: int) -> ImageSize:
    width, height = stored
    return ImageSize(width, height) if orientation in (5, 6, 7, 8) else ImageSize(height, width)


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    method = _TRANSPOSE.get(orientation)
    return image if method is None else image.transpose(method)


def _resize(
    picture: Image.Image, target: int, covered: tuple[float, float, float, float] | None = None
) -> Image.Image:
    """The part `covered` (x0, y0, x1, y1) of a picture in mode L, RGB or RGBA as a square; None: all of it."""
    # The gap makes Pillow first average a large image by a whole factor: faster, and still within a grey level.
    scaled = picture.resize((target, target), Image.Resampling.BILINEAR, box=covered, reducing_gap=3.0)
    return _flatten(scaled)


def _eight_bit(image: Image.Image, no_data: float | None = None) -> Image.Image:
    """The same picture in a mode that can be resized: L, RGB or RGBA."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return Image.fromarray(to_eight_bits(np.asarray(image), no_data))
    if image.has_transparency_data:
        return _seen(image.convert("RGBA"))
    if image.mode in ("L", "RGB"):
        return image
    try:
        return image.convert("RGB")
    except ValueError as error:
        raise UnreadableImage(f"images of colour mode {image.mode} cannot be read") from error


def _seen(image: Image.Image) -> Image.Image:
    """The image without its alpha channel where that is 0 everywhere."""
    if image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0):
        return image.convert("RGB")
    return image


def _flatten(image: Image.Image) -> Image.Image:
    """Lay transparency over white; RGB."""
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")
