"""The kinds of image source that a Python caller may pass. Needs no torch.

A source is read in two steps, so that a file that is embedded already is never decoded. The first step reads the
content: the bytes of a file, or a picture in memory. The second decodes the pixels. The id of a file is derived from
its bytes. The id of a picture is derived from what the model sees of it: its bytes mean nothing without its palette,
its transparency and its mode.
"""

import hashlib
from errno import ENAMETOOLONG
from http.client import HTTPException
from os import PathLike
from pathlib import Path
from typing import Any, Literal
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import numpy.typing as npt
from PIL import Image

from sam3_engine.data_urls import decode_base64, is_data_url
from sam3_engine.deep import to_eight_bits
from sam3_engine.errors import ImageTooLarge, UnreadableImage
from sam3_engine.images import DecodedImage, decode_image, decode_picture

ImageSource = str | PathLike[str] | bytes | bytearray | Image.Image | npt.NDArray[Any]
"""A path, an http(s) URL, a `data:` URL in base64, the bytes of an image file, a Pillow image, or an array [H, W],
[H, W, 1, 3 or 4].

An array of uint8 is taken as it is. Other integers and floats of any size are brought to 8 bits by the rule for files
of more than 8 bits (see `deep`): the middle 99 % of the values run from black to white. So a float array in [0, 1] and
the same in [0, 255] are one picture. Coordinates are pixels of the upright image: the EXIF orientation of a file or a
Pillow image is applied.
"""

ChannelOrder = Literal["bgr", "rgb"]
"""The order of the colours in an array; OpenCV uses "bgr". Alpha comes last in both."""

Content = bytes | Image.Image

MAX_DOWNLOAD = 100 * 2**20
TIMEOUT_S = 30.0


def read_content(source: ImageSource, channels: ChannelOrder = "bgr") -> Content:
    """The bytes of an image file, or a picture in memory.

    Raises TypeError for an object of another kind, ValueError for an array of no such dtype or shape, OSError for a
    path that cannot be read, and UnreadableImage or ImageTooLarge for a URL that gives or holds no image file.
    """
    if isinstance(source, Image.Image):
        return source
    if isinstance(source, np.ndarray):
        return _picture(source, channels)
    if isinstance(source, bytes | bytearray):
        return bytes(source)
    if isinstance(source, str) and source.lower().startswith(("http://", "https://")):
        return _download(source)
    if isinstance(source, str) and is_data_url(source):
        return decode_base64(source)
    if isinstance(source, str | PathLike):
        return _read_file(source)
    raise TypeError(f"cannot read an image from a {type(source).__name__}")


def _read_file(path: str | PathLike[str]) -> bytes:
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        if error.errno != ENAMETOOLONG:
            raise
        length = len(str(path))  # the error itself would repeat all of it, which may be an image
        raise OSError(
            ENAMETOOLONG, f"a text of {length} characters is no path: an image in base64 begins with data:"
        ) from None


def content_digest(content: bytes | DecodedImage) -> str:
    """An id derived from a file's bytes, or from a picture as the model sees it: 32 hex digits."""
    digest = hashlib.blake2b(digest_size=16)
    if isinstance(content, bytes):
        digest.update(content)
    else:
        digest.update(f"{content.size} {content.square.shape}".encode())
        digest.update(content.square.tobytes())
    return digest.hexdigest()


def decode(content: Content, target: int, max_pixels: int | None = None) -> DecodedImage:
    """The picture, upright and resized to the model's square.

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
    try:
        content.load()
    except MemoryError:
        raise
    except Exception as error:  # a picture that is opened but not read yet fails as its file would
        raise UnreadableImage(f"broken, truncated or closed image: {error}") from error
    return decode_picture(content, target)


def _picture(array: npt.NDArray[Any], channels: ChannelOrder) -> Image.Image:
    if array.dtype.kind not in "iuf":
        raise ValueError(f"expected an image array of integers or floats, got {array.dtype}")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim != 2 and not (array.ndim == 3 and array.shape[2] in (3, 4)):
        raise ValueError(f"expected an image array of shape [H, W], or [H, W, 1, 3 or 4], got {array.shape}")
    if array.size == 0:
        raise UnreadableImage(f"the image has no pixels: {array.shape}")
    if array.ndim == 3 and channels == "bgr":
        array = array[..., [2, 1, 0, 3][: array.shape[2]]]
    if array.dtype != np.uint8:
        array = to_eight_bits(array)
    return Image.fromarray(np.ascontiguousarray(array))


def _download(url: str) -> bytes:
    # The caller is a program on this machine and may open any address. The server has a guarded fetch of its own.
    try:
        request = Request(url, headers={"User-Agent": "sam3-engine"})  # noqa: S310 (http and https only, see above)
        with urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310
            content: bytes = response.read(MAX_DOWNLOAD + 1)
    except (OSError, ValueError, HTTPException) as error:
        if isinstance(error, HTTPError):
            error.close()  # it is the answer, too, and holds its connection
        raise UnreadableImage(f"the image at {url} cannot be fetched: {error}") from error
    if len(content) > MAX_DOWNLOAD:
        raise ImageTooLarge(f"the file at {url} is larger than {MAX_DOWNLOAD // 2**20} MB")
    return content
