"""Decodes the bytes of an image file to the model's input: an upright RGB square of uint8. Needs no torch.

Rules beyond the formats' own: transparency is laid over white, but an alpha channel that is 0 everywhere hides a whole
picture and is ignored. More than 8 bits per channel: see `deep`. A JPEG is scaled while it is decoded as far as one and
a half times the model's side is left of both of its sides.

The pixel count in the header is checked before anything is decoded, and so is the work that the file would give its
decoder: see `formats`. Some decoders cannot be stopped (see `formats.progress`), so that a file's work and its memory
are bounded by the size of the picture. Decoding takes at most 8 bytes for each pixel and 160 MiB.

Only common raster formats are opened: Pillow's other readers (EPS, PSD, ...) run interpreters or are rarely audited. An
animation counts as its first frame.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image, UnidentifiedImageError

from sam3_engine.deep import grey_strips, grey_to_eight_bits, is_deep
from sam3_engine.errors import DecodingStopped, ImageTooLarge, UnreadableImage
from sam3_engine.formats import deep_files, jpeg, opencv, tiff
from sam3_engine.formats.checked import checked
from sam3_engine.formats.cost import check_cost, is_allowed
from sam3_engine.formats.directories import BIG_ENDIAN, check_directories
from sam3_engine.formats.progress import GOES_ON, Progress, WatchedFile, decoding_seconds
from sam3_engine.formats.tiff_header import TiffHeader, misread, no_data_value, tiff_header, white_is_zero
from sam3_engine.types import ImageSize

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "AVIF")
"""Readable formats. "JPEG" includes MPO, a JPEG of several pictures, which phones write."""

PREPROCESSING = 3
"""Version of the way from a file to the model's input. A change makes every stored embedding unusable.

1: every JPEG of twice the model's side was scaled while it was decoded; deep pictures kept their upper 8 bits.
2: opacity of more than 8 bits was relative to the type's largest value; deep TIFFs were shown without
regard to their tags for white, alpha and signs.
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
TALL_BYTES = 2**25
"""Bytes of a picture that is as wide as the target and as high as the original."""
BAND_PIXELS = 2**20
"""Pixels that are laid over white at once."""

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
    content = checked(content)
    try:
        with _open(content) as image:
            return ImageInfo(str(image.format), _upright_size(image.size, _orientation(image)))
    except _UnknownTiff as unknown:
        return ImageInfo("TIFF", _upright_size(unknown.header.size, 1))


def decode_image(
    content: bytes, *, max_pixels: int | None, target: int, progress: Progress = GOES_ON
) -> DecodedImage:
    """Decode an image file and resize it to the model's square of side `target`.

    A large JPEG is scaled while it is decoded, which saves most of the work: see DRAFT. Raises UnreadableImage for an
    empty, unknown, broken or truncated file. Raises ImageTooLarge, before decoding, beyond `max_pixels` pixels and
    beyond Pillow's own limit (see `lift_pillow_limit`), and for a file that would cost more than its pixels justify
    (see `formats`). Raises DecodingStopped where `progress` does.
    """
    content = checked(content)
    try:
        with _open(content, max_pixels, progress) as image:
            stored, covered = image.size, None
            progress.begin(_seconds(image, content, stored))
            if image.format in _JPEG:
                scaled = image.draft(image.mode, (math.ceil(DRAFT * target),) * 2)
                # The last block may stick out of the picture, by part of a pixel of the scaled one.
                covered = scaled[1] if scaled else None
            picture, orientation = _load(image, content, stored, progress)
    except _UnknownTiff as unknown:
        width, height = unknown.header.size
        progress.begin(decoding_seconds("TIFF", width * height, deep=True))
        picture, orientation, covered = _read_unknown(unknown, content, progress), 1, None
        stored = picture.size
    square = _upright(_resize(picture, target, covered), orientation)
    return DecodedImage(_upright_size(stored, orientation), np.array(square))


def open_upright(content: bytes, *, max_pixels: int | None = None) -> Image.Image:
    """Decode an image file at its own size: upright, RGB. Raises the errors of `decode_image`."""
    content = checked(content)
    try:
        with _open(content, max_pixels) as image:
            picture, orientation = _load(image, content, image.size)
    except _UnknownTiff as unknown:
        picture, orientation = _read_unknown(unknown, content), 1
    return _upright(_flatten(picture), orientation)


def decode_picture(image: Image.Image, target: int) -> DecodedImage:
    """Resize a Pillow image of any mode to the model's square of side `target`.

    Antialiased bilinear on uint8, as torchvision's v2.Resize in the package's Sam3Processor: equal to within
    one grey level, rarely two. As in a file: the EXIF orientation that the image still carries, transparency, and
    greyscale of more than 8 bits. Colours of more than 8 bits have lost the lower ones in Pillow.
    """
    picture, orientation = _seen(_eight_bit(image)), _orientation(image)
    square = _upright(_resize(picture, target), orientation)
    return DecodedImage(_upright_size(image.size, orientation), np.array(square))


class _UnknownTiff(Exception):
    """A TIFF file whose numbers Pillow does not know, such as float colours."""

    def __init__(self, header: TiffHeader) -> None:
        super().__init__()
        self.header = header


def _seconds(image: Image.Image, content: bytes, stored: tuple[int, int]) -> float:
    scans = jpeg.structure(content).scans if image.format in _JPEG and "progressive" in image.info else 1
    return decoding_seconds(
        str(image.format), stored[0] * stored[1], deep=is_deep(image), scans=max(1, scans)
    )


def _open(content: bytes, max_pixels: int | None = None, progress: Progress = GOES_ON) -> Image.Image:
    """Read the header and check the pixel count."""
    if not content:
        raise UnreadableImage("the image is empty (0 bytes)")
    if content.startswith(BIG_ENDIAN):  # Pillow takes it for a TIFF of 32 bits
        raise UnreadableImage(
            "a BigTIFF image in big-endian byte order is not read: save it in little-endian order"
        )
    try:
        image = Image.open(WatchedFile(content, progress), formats=FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageTooLarge("the image has more pixels than this installation opens") from error
    except UnidentifiedImageError:
        tiff.check(content)
        if (header := tiff_header(content)) is not None:
            _check_pixels(header.size, max_pixels)
            raise _UnknownTiff(header) from None
        message = f"not an image, or not of a known format ({', '.join(FORMATS)})"
        raise UnreadableImage(message) from None
    except DecodingStopped:
        raise
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


def _read_unknown(unknown: _UnknownTiff, content: bytes, progress: Progress = GOES_ON) -> Image.Image:
    if unknown.header.palette:  # which other readers take for grey values
        raise UnreadableImage(unknown.header.refusal)
    picture = _deep(content, unknown.header.no_data, progress)
    if picture is None or picture.size != unknown.header.size:
        raise UnreadableImage(unknown.header.refusal)
    return _seen(picture)


def _deep(content: bytes, no_data: float | None, progress: Progress) -> Image.Image | None:
    """A deep picture in 8 bits, upright if it is a TIFF's."""
    read = deep_files.read(content, no_data, progress)
    if read is None:
        return None
    picture, orientation = _from_array(read[0]), read[1]
    del read  # the values of three channels, which the picture has copied
    return _upright(picture, orientation)


def _load(
    image: Image.Image, content: bytes, stored: tuple[int, int], progress: Progress = GOES_ON
) -> tuple[Image.Image, int]:
    """Decode the pixels; returns the picture as L, RGB or RGBA, and its EXIF orientation, which is still to be
    undone. stored: the size of the whole picture, which a JPEG is scaled from. The image's own pixels may be freed."""
    _check_memory(image, content, stored)
    if is_deep(image) and image.mode in ("RGB", "RGBA", "LA"):  # of which Pillow keeps the upper 8 bits
        deep = _deep(content, no_data_value(image), progress)
        if deep is not None and deep.size == image.size:
            return _seen(deep), _orientation(image)
        _load_pixels(image)  # raises for a file that is broken; what Pillow reads has lost its lower bits
        raise UnreadableImage(_refusal(image, content))
    if image.format == "WEBP" and not getattr(image, "is_animated", False):
        # Pillow decodes to a canvas, keeps another one, and copies the pixels twice.
        values = opencv.read(content)
        if values is None or values.shape[:2] != (image.height, image.width):
            raise UnreadableImage("broken or truncated WEBP image")
        return _seen(_from_array(values)), _orientation(image)
    grey = _GreyFile(no_data_value(image), misread(image), white_is_zero(image))
    _load_pixels(image)
    orientation = _orientation(image)
    picture = _eight_bit(image, grey)
    if picture is not image:
        image.close()  # frees its pixels
    return _seen(picture), orientation


def _load_pixels(image: Image.Image) -> None:
    try:
        image.load()
    except (MemoryError, DecodingStopped):
        raise
    except Exception as error:  # a broken file makes a decoder raise anything
        raise UnreadableImage(f"broken or truncated {image.format} image: {error}") from error


def _refusal(image: Image.Image, content: bytes) -> str:
    if (header := tiff_header(content)) is not None:
        return header.refusal
    return f"this {image.format} image has colours of more than 8 bits in a layout or size that is not read"


def _check_memory(image: Image.Image, content: bytes, stored: tuple[int, int]) -> None:
    """Raises ImageTooLarge for a file whose decoder holds more at once than its pixels justify."""
    pixels, decoded = stored[0] * stored[1], image.width * image.height
    if image.format in _JPEG:
        if is_allowed(8 * pixels + 4 * decoded, pixels):
            return  # as much as four components take
        kept = jpeg.structure(content).kept
        check_cost(int(kept * pixels) + 4 * decoded, pixels, "a progressive JPEG image")
    elif image.format == "TIFF" and (layout := tiff.check(content)) and layout.compressed:
        check_cost(
            layout.block_bytes + 4 * pixels, pixels, "a TIFF image with strips or tiles as large as these"
        )
    elif image.format == "AVIF":  # its planes, of 16 bits, and the pixels twice
        check_cost((16 if image.mode == "RGBA" else 13) * pixels, pixels, "an AVIF image")
    elif image.format == "WEBP" and getattr(image, "is_animated", False):
        check_cost(20 * pixels, pixels, "an animated WEBP image")


def _from_array(values: npt.NDArray[np.uint8]) -> Image.Image:
    """The picture of an array [H, W] or [H, W, 3 or 4]. Only three channels are copied."""
    height, width = values.shape[:2]
    if values.ndim == 3 and values.shape[2] == 3:
        return Image.fromarray(values)
    mode = "L" if values.ndim == 2 else "RGBA"
    return Image.frombuffer(mode, (width, height), np.ascontiguousarray(values), "raw", mode, 0, 1)


def _orientation(image: Image.Image) -> int:
    if image.format == "TIFF":  # Pillow makes a TIFF upright itself, its size included
        return 1
    try:
        if hexadecimal := image.info.get("Raw profile type exif"):
            check_directories(bytes.fromhex("".join(hexadecimal.split("\n")[3:])))
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
    if picture.mode == "RGBA" and 4 * target * picture.height > TALL_BYTES:
        # Pillow leaves the gap out for transparency, and would make a copy as wide as the target.
        weighted = picture.convert("RGBa").resize(
            (target, target), Image.Resampling.BILINEAR, reducing_gap=3.0
        )
        return _flatten(weighted.convert("RGBA"))
    scaled = picture.resize((target, target), Image.Resampling.BILINEAR, box=covered, reducing_gap=3.0)
    return _flatten(scaled)


@dataclass(frozen=True, slots=True)
class _GreyFile:
    """The grey values' meaning as the file's tags state it, where Pillow does not read them.

    no_data: the value that stands for no data; dtype: numpy's name of their type where Pillow takes another one;
    inverted: the largest value is black. See `no_data_value`, `misread` and `white_is_zero`.
    """

    no_data: float | None = None
    dtype: str | None = None
    inverted: bool = False


def _eight_bit(image: Image.Image, grey: _GreyFile = _GreyFile()) -> Image.Image:
    """The same picture in a mode that can be resized: L, RGB or RGBA."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16") or grey.dtype is not None:
        transparent = image.info.get("transparency")
        hidden = transparent if isinstance(transparent, int) else None
        values = grey_to_eight_bits(image, grey.no_data if hidden is None else hidden, grey.dtype)
        if grey.inverted:
            np.subtract(255, values, out=values)
        if hidden is not None:
            values = _without(values, image, hidden)
        return _from_array(values)
    if image.mode in ("L", "RGB", "RGBA") and ("transparency" not in image.info or image.mode == "RGBA"):
        return image
    if image.has_transparency_data:
        return image.convert("RGBA")
    try:
        return image.convert("RGB")
    except ValueError as error:
        raise UnreadableImage(f"images of colour mode {image.mode} cannot be read") from error


def _without(values: npt.NDArray[np.uint8], image: Image.Image, transparent: int) -> npt.NDArray[np.uint8]:
    """uint8 [H, W, 4] of grey values: the pixels of the image that have this value are transparent."""
    shown = np.empty((*values.shape, 4), np.uint8)
    shown[..., :3] = values[..., None]
    row = 0
    for strip in grey_strips(image):
        shown[row : row + len(strip), :, 3] = np.where(strip == transparent, 0, 255)
        row += len(strip)
    return shown


def _seen(image: Image.Image) -> Image.Image:
    """The image without its alpha channel where that is 0 everywhere."""
    if image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0):
        return image.convert("RGB")
    return image


def _flatten(image: Image.Image) -> Image.Image:
    """Lay transparency over white; RGB."""
    if image.mode != "RGBA":
        return image if image.mode == "RGB" else image.convert("RGB")
    flat = Image.new("RGB", image.size)
    rows = max(1, BAND_PIXELS // image.width)
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(top + rows, image.height)))
        white = Image.new("RGBA", band.size, "white")
        flat.paste(Image.alpha_composite(white, band).convert("RGB"), (0, top))
    return flat
