import base64
from typing import cast

import pytest

from deployments.keys import content_digest
from deployments.protocol import Overloaded
from serve_app.http.errors import BadImage, InvalidRequest
from serve_app.http.reading.digest import INLINE_BYTES
from serve_app.http.reading.fetch import Access, ImageFetcher, parse_url
from serve_app.http.reading.image_fields import InferenceRequestImage
from serve_app.http.reading.images import (
    Base64Image,
    FileImage,
    UrlImage,
    decode_base64,
    source_of,
    sources_of,
)
from serve_app.http.reading.url_cache import FetchedImage
from serve_app.settings import Settings

CONTENT = bytes(range(256)) * 5
TEXT = base64.b64encode(CONTENT).decode()


@pytest.fixture
def fetcher() -> ImageFetcher:
    return ImageFetcher(Settings())


@pytest.mark.parametrize(
    ("text", "meant"), [("YWJj!", "not valid base64"), ("=", "empty"), ("data:,a", "must be in")]
)
def test_text_that_is_no_image_is_a_bad_image(text: str, meant: str) -> None:
    with pytest.raises(BadImage, match=meant):
        decode_base64(text)


@pytest.mark.parametrize("size", [10, INLINE_BYTES + 1, 3 * INLINE_BYTES])
async def test_base64_and_file_have_the_same_id(size: int) -> None:
    content = bytes(size)
    sources = (FileImage(content), Base64Image(base64.b64encode(content).decode()))
    for source in sources:
        assert await source.content_digest() == content_digest(content)
        assert await source.content() == content
        assert await source.content_digest() == content_digest(content)


async def test_base64_is_decoded_only_when_it_is_read() -> None:
    source = Base64Image("%")
    with pytest.raises(BadImage):
        await source.content_digest()


async def test_a_url_image_keeps_the_bytes_of_its_id() -> None:
    """Though the URL answers otherwise the next time."""

    class Changing:
        count = 0

        async def fetch(self, tenant: str, url: str, access: Access | None = None) -> FetchedImage:
            self.count += 1
            return FetchedImage(str(self.count).encode(), f"id-{self.count}")

    source = UrlImage(cast("ImageFetcher", Changing()), "acme", "https://x")
    assert await source.content_digest() == "id-1"
    assert await source.content() == b"1"


@pytest.mark.parametrize("error", [BadImage("no image"), Overloaded(3)])
async def test_an_error_of_fetching_ahead_is_raised_by_whoever_needs_the_image(error: Exception) -> None:
    class Failing:
        count = 0

        async def fetch(self, _tenant: str, _url: str, _access: Access | None = None) -> FetchedImage:
            self.count += 1
            raise error

    failing = Failing()
    source = UrlImage(cast("ImageFetcher", failing), "acme", "https://x")
    await source.prefetch()
    for read in (source.content, source.content_digest):
        with pytest.raises(type(error)):
            await read()
    assert failing.count == 1


@pytest.mark.parametrize(
    "kind", ["numpy", "numpy_object", "pickle", "file", "multipart", "", "BASE64", "x" * 100]
)
def test_other_types_are_refused_by_name(fetcher: ImageFetcher, kind: str) -> None:
    with pytest.raises(BadImage) as raised:
        source_of(InferenceRequestImage(type=kind, value=[1]), fetcher, "acme")
    assert kind[:40] in str(raised.value)
    assert len(str(raised.value)) < 200


def test_sources_of_one_and_of_many(fetcher: ImageFetcher) -> None:
    one = InferenceRequestImage(type="base64", value=TEXT)
    url = InferenceRequestImage(type="url", value="https://x")
    assert len(sources_of(one, fetcher, "acme", 1)) == 1
    both = sources_of([one, url], fetcher, "acme", 2)
    assert [type(source) for source in both] == [Base64Image, UrlImage]
    with pytest.raises(InvalidRequest):
        sources_of([one, url], fetcher, "acme", 1)


def test_an_empty_file_is_refused() -> None:
    with pytest.raises(BadImage, match="empty"):
        FileImage(b"")


@pytest.mark.parametrize("url", ["https://h/a%2Fb?c=%7e+d#e", "https://h/ü", "https://bücher.example/"])
def test_parse_url_keeps_what_is_written(url: str) -> None:
    assert parse_url(url).scheme == "https"
    if url.isascii():
        assert str(parse_url(url)) == url
