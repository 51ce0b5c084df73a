"""Decodes the bytes of an image file to the model's input: an upright RGB square of uint8. Needs no torch.

The pixel count in the header is checked before anything is decoded. Only common raster formats are opened: Pillow's
other readers (EPS, PSD, ...) run interpreters or are rarely audited. An animation counts as its first frame.
"""

from dataclasses import dataclass
from io import BytesIO

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from sam3_engine.errors import ImageTooLarge, UnreadableImage
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
    with _open(content) as image:
        return ImageInfo(str(image.format), _upright_size(image.size, _orientation(image)))


def decode_image(content: bytes, *, max_pixels: int | None, target: int) -> DecodedImage:
    """Decode an image file and resize it to the model's square of side `target`.

    A JPEG of at least twice the target is scaled while it is decoded, which saves most of the work; `to_square` does
    the rest. Raises UnreadableImage for an empty, unknown, broken or truncated file. Raises ImageTooLarge, before
    decoding, beyond `max_pixels` pixels and beyond Pillow's own limit (see `lift_pillow_limit`).
    """
    with _open(content, max_pixels) as image:
        stored = image.size
        if image.format in _JPEG:
            image.draft(image.mode, (target, target))  # never below the target, on either side
        orientation = _load(image)
        square = _upright(_resize(image, target), orientation)
        return DecodedImage(_upright_size(stored, orientation), np.array(square))


def open_upright(content: bytes, *, max_pixels: int | None = None) -> Image.Image:
    """Decode an image file at its own size: upright, RGB. Raises the errors of `decode_image`."""
    with _open(content, max_pixels) as image:
        orientation = _load(image)
        return _upright(_flatten(_eight_bit(image)), orientation)


def to_square(image: Image.Image, target: int) -> npt.NDArray[np.uint8]:
    """Resize a picture of any mode to uint8 [target, target, 3] RGB. Its EXIF orientation is ignored.

    Antialiased bilinear on uint8, as torchvision's v2.Resize in the package's Sam3Processor: equal to within
    one grey level, rarely two. Transparency is laid over white. 16-bit greyscale keeps its upper 8 bits; 32-bit
    and float greyscale, which have no standard range, are stretched from their minimum to their maximum.
    """
    return np.array(_resize(image, target))


def _open(content: bytes, max_pixels: int | None = None) -> Image.Image:
    """Read the header and check the pixel count."""
    if not content:
        raise UnreadableImage("the image is empty (0 bytes)")
    try:
        image = Image.open(BytesIO(content), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageTooLarge("the image has more pixels than this installation opens") from error
    except UnidentifiedImageError:
        message = f"not an image, or not of a known format ({', '.join(FORMATS)})"
        raise UnreadableImage(message) from None
    except Exception as error:  # a broken file makes a reader raise anything
        raise UnreadableImage(f"the image has a broken header: {error}") from error
    width, height = image.size
    if max_pixels is not None and width * height > max_pixels:
        image.close()
        raise ImageTooLarge(
            f"the image has {width} x {height} = {width * height / 1e6:.1f} megapixels, "
            f"more than the {max_pixels / 1e6:.1f} that are allowed"
        )
    return image


def _load(image: Image.Image) -> int:
    """Decode the pixels; returns their EXIF orientation, which is still to be undone."""
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as error:  # a broken file makes a decoder raise anything
        raise UnreadableImage(f"broken or truncated {image.format} image: {error}") from error
    return _orientation(image)


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


def _resize(image: Image.Image, target: int) -> Image.Image:
    # The gap makes Pillow first average a large image by a whole factor: faster, and still within a grey level.
    scaled = _eight_bit(image).resize((target, target), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return _flatten(scaled)


def _eight_bit(image: Image.Image) -> Image.Image:
    """The same picture in a mode that can be resized: L, RGB or RGBA."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode in ("I", "F"):
        return Image.fromarray(_stretch(np.asarray(image, dtype=np.float64)))
    if image.has_transparency_data:
        return image.convert("RGBA")
    if image.mode in ("L", "RGB"):
        return image
    try:
        return image.convert("RGB")
    except ValueError as error:
        raise UnreadableImage(f"images of colour mode {image.mode} cannot be read") from error


def _stretch(values: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    scale = 255.0 / (high - low) if high > low else 0.0
    return np.round((np.nan_to_num(values, nan=low, posinf=high, neginf=low) - low) * scale).astype(np.uint8)


def _flatten(image: Image.Image) -> Image.Image:
    """Lay transparency over white; RGB."""
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")
