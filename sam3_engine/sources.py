"""The kinds of image source that a Python caller may pass. Needs no torch.

A source is read in two steps, so that an image that is embedded already is never decoded. The first step reads the
content (the bytes of a file, or a picture in memory), from which the id is derived. The second decodes the pixels.
"""

import hashlib
from os import PathLike
from pathlib import Path
from typing import Any, Literal
from urllib.error import URLError
from urllib.request import Request, urlopen

import numpy as np
import numpy.typing as npt
from PIL import Image

from sam3_engine.errors import ImageTooLarge, UnreadableImage
from sam3_engine.images import DecodedImage, decode_image, to_square
from sam3_engine.types import ImageSize

ImageSource = str | PathLike[str] | bytes | bytearray | Image.Image | npt.NDArray[Any]
"""A path, an http(s) URL, the bytes of an image file, a Pillow image, or a uint8 array [H, W], [H, W, 3 or
4]."""

ChannelOrder = Literal["bgr", "rgb"]
"""The order of the colours in an array; OpenCV uses "bgr". Alpha comes last in both."""

Content = bytes | Image.Image

MAX_DOWNLOAD = 100 * 2**20
TIMEOUT_S = 30.0


def read_content(source: ImageSource, channels: ChannelOrder = "bgr") -> Content:
    """The bytes of an image file, or a picture in memory.

    Raises TypeError for an object of another kind, ValueError for an array of another dtype or shape, OSError for a
    path that cannot be read, and UnreadableImage or ImageTooLarge for a URL that gives no image file.
    """
    if isinstance(source, Image.Image):
        return source
    if isinstance(source, np.ndarray):
        return _picture(source, channels)
    if isinstance(source, bytes | bytearray):
        return bytes(source)
    if isinstance(source, str) and source.startswith(("http://", "https://")):
        return _download(source)
    if isinstance(source, str | PathLike):
        return Path(source).expanduser().read_bytes()
    raise TypeError(f"cannot read an image from a {type(source).__name__}")


def content_id(content: Content) -> str:
    """An id derived from the content alone: 32 hex digits."""
    digest = hashlib.blake2b(digest_size=16)
    if isinstance(content, bytes):
        digest.update(content)
    else:  # equal pixel bytes with another shape or mode are another picture
        digest.update(f"{content.mode} {content.size}".encode())
        digest.update(content.tobytes())
    return digest.hexdigest()


def decode(content: Content, target: int, max_pixels: int | None = None) -> DecodedImage:
    """The picture, resized to the model's square. A file is turned upright; the EXIF orientation of a Pillow image
    is ignored.

    Raises UnreadableImage and ImageTooLarge as `images.decode_image`.
    """
    if isinstance(content, bytes):
        return decode_image(content, max_pixels=max_pixels, target=target)
    width, height = content.size
    if width < 1 or height < 1:
        raise UnreadableImage(f"the image has no pixels: {width} x {height}")
    if max_pixels is not None and width * height > max_pixels:
        raise ImageTooLarge(
            f"the image has {width * height} pixels, more than the {max_pixels} that are allowed"
        )
    return DecodedImage(ImageSize(height, width), to_square(content, target))


def _picture(array: npt.NDArray[Any], channels: ChannelOrder) -> Image.Image:
    if array.dtype != np.uint8:
        raise ValueError(f"expected an image array of uint8, got {array.dtype}")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim != 2 and not (array.ndim == 3 and array.shape[2] in (3, 4)):
        raise ValueError(
            f"expected an image array of shape [H, W], [H, W, 3] or [H, W, 4], got {array.shape}"
        )
    if array.size == 0:
        raise UnreadableImage(f"the image has no pixels: {array.shape}")
    if array.ndim == 3 and channels == "bgr":
        array = array[..., [2, 1, 0, 3][: array.shape[2]]]
    return Image.fromarray(np.ascontiguousarray(array))


def _download(url: str) -> bytes:
    # The caller is a program on this machine and may open any address. The server has a guarded fetch of its own.
    request = Request(url, headers={"User-Agent": "sam3-engine"})  # noqa: S310 (http and https only, see above)
    try:
        with urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310
            content: bytes = response.read(MAX_DOWNLOAD + 1)
    except (URLError, OSError, ValueError) as error:
        raise UnreadableImage(f"the image at {url} cannot be fetched: {error}") from error
    if len(content) > MAX_DOWNLOAD:
        raise ImageTooLarge(f"the file at {url} is larger than {MAX_DOWNLOAD // 2**20} MB")
    return content
