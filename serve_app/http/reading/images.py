"""The images of a request: base64 text, multipart parts and URLs as `ImageFile`s.

An image is decoded, fetched and hashed only when its content or id is needed.
"""

import asyncio
from collections.abc import Sequence

from deployments.protocol import ImageFile, Overloaded
from sam3_engine import data_urls
from sam3_engine.errors import UnreadableImage
from serve_app.http.errors import BadImage, InvalidRequest
from serve_app.http.reading.digest import INLINE_BYTES, content_digest_off_loop
from serve_app.http.reading.fetch import Access, ImageFetcher
from serve_app.http.reading.image_fields import InferenceRequestImage
from serve_app.http.reading.url_cache import FetchedImage

REFUSED_TYPES = {
    "numpy": "it is unpickled, which runs code",
    "numpy_object": "it is unpickled, which runs code",
    "pickle": "it is unpickled, which runs code",
    "file": "it would read the server's files",
    "multipart": "send the file as a part of a multipart/form-data request",
}


class FileImage:
    """An image file that is a part of a multipart request."""

    def __init__(self, content: bytes) -> None:
        if not content:
            raise BadImage("the image is empty")
        self._content = content
        self._id: str | None = None

    async def content_digest(self) -> str:
        """Digest of the bytes."""
        if self._id is None:
            self._id = await content_digest_off_loop(self._content)
        return self._id

    async def content(self) -> bytes:
        """The bytes."""
        return self._content


class Base64Image:
    """An image file in base64. Reading it raises BadImage if it is malformed or empty."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._content: bytes | None = None
        self._id: str | None = None

    async def content_digest(self) -> str:
        """Digest of the decoded bytes: equal to that of the file itself."""
        if self._id is None:
            self._id = await content_digest_off_loop(await self.content())
        return self._id

    async def content(self) -> bytes:
        """The decoded bytes."""
        if self._content is None:
            text = self._text
            in_line = len(text) <= INLINE_BYTES
            self._content = decode_base64(text) if in_line else await asyncio.to_thread(decode_base64, text)
            self._text = ""
        return self._content


class UrlImage:
    """An image file at a URL. Reading it raises BadImage if it cannot be fetched."""

    def __init__(self, fetcher: ImageFetcher, tenant: str, url: str, access: Access | None = None) -> None:
        self._fetcher = fetcher
        self._tenant = tenant
        self._url = url
        self._access = access
        self._image: FetchedImage | None = None
        self._error: Exception | None = None

    async def prefetch(self) -> None:
        """Fetch the image now. An error is raised by the methods that need the image."""
        try:
            await self._fetched()
        except (BadImage, Overloaded) as error:
            self._error = error

    async def content_digest(self) -> str:
        """Digest of the bytes that `content` gives."""
        return (await self._fetched()).digest

    async def content(self) -> bytes:
        """The bytes, fetched now or from the cache."""
        return (await self._fetched()).content

    async def _fetched(self) -> FetchedImage:
        if self._error is not None:
            raise self._error
        if self._image is None:
            self._image = await self._fetcher.fetch(self._tenant, self._url, self._access)
        return self._image


def decode_base64(text: str) -> bytes:
    """`data_urls.decode_base64`, whose error is BadImage here."""
    try:
        return data_urls.decode_base64(text)
    except UnreadableImage as error:
        raise BadImage(str(error)) from None


def source_of(image: InferenceRequestImage, fetcher: ImageFetcher, tenant: str) -> ImageFile:
    """The source of an image in JSON. Raises BadImage for refused and unknown types."""
    match image.type, image.value:
        case "base64" | "url", None | "":
            raise BadImage("the image is empty")
        case "base64", str(text):
            return Base64Image(text)
        case "url", str(url) if data_urls.is_data_url(url):  # it holds the image: nothing is fetched
            return Base64Image(url)
        case "url", str(url):
            return UrlImage(fetcher, tenant, url)
    kind = image.type[:40]
    if kind in REFUSED_TYPES:
        raise BadImage(f"image type {kind!r} is refused: {REFUSED_TYPES[kind]}. Use 'base64' or 'url'")
    raise BadImage(f"image type {kind!r} is not known: use 'base64' or 'url'")


def sources_of(
    images: InferenceRequestImage | Sequence[InferenceRequestImage],
    fetcher: ImageFetcher,
    tenant: str,
    limit: int,
) -> list[ImageFile]:
    """The sources of one image or of a list of at most `limit`. Raises BadImage, InvalidRequest."""
    listed = [images] if isinstance(images, InferenceRequestImage) else images
    check_count(len(listed), limit)
    return [source_of(image, fetcher, tenant) for image in listed]


def check_count(count: int, limit: int) -> None:
    """Raises InvalidRequest when a request has more images than the server accepts in one request."""
    if count > limit:
        raise InvalidRequest.one(
            f"List should have at most {limit} images, not {count}", "image", kind="too_long"
        )
