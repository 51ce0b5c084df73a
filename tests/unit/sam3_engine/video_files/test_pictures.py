"""Image files as a video file."""

import io
from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from sam3_engine.errors import ImageTooLarge, UnreadableImage
from sam3_engine.types import ImageSize
from sam3_engine.video_files.pictures import BadFrame, film_of
from sam3_engine.video_files.reading import Frame, open_video
from tests.support.clips import frame, picture
from tests.support.scenes import encoded


def read(film: bytes) -> list[Frame]:
    with open_video(io.BytesIO(film)) as video:
        frames = list(video.frames())
        assert video.damage is None
    return frames


def test_each_picture_is_a_frame() -> None:
    frames = read(film_of(picture(number) for number in range(30)))
    assert [one.number for one in frames] == list(range(30))
    for one in frames:
        difference = one.pixels.astype(int) - np.asarray(frame(one.number)).astype(int)
        assert np.abs(difference).mean() < 2


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (641, 479), (2000, 7)])
def test_sizes_stay_as_they_are(size: tuple[int, int]) -> None:
    (one,) = read(film_of([encoded(Image.new("RGB", size, (200, 30, 30)))]))
    assert one.size == ImageSize(size[1], size[0])
    assert np.abs(one.pixels.astype(int) - (200, 30, 30)).max() < 4


def test_frames_are_upright_and_in_rgb_whatever_the_files_are() -> None:
    tall = Image.new("RGB", (40, 80), (20, 20, 220))
    turned = tall.transpose(Image.Transpose.ROTATE_90)
    exif = turned.getexif()
    exif[0x0112] = 6
    files = [
        encoded(tall),
        encoded(turned, "JPEG", exif=exif, quality=95),
        encoded(tall, "WEBP", lossless=True),
        encoded(tall.convert("P", palette=Image.Palette.ADAPTIVE)),
        encoded(tall.convert("CMYK"), "JPEG", quality=95),
        encoded(tall, "JPEG", progressive=True, quality=95),
    ]
    frames = read(film_of(files))
    assert {one.size for one in frames} == {ImageSize(80, 40)}
    for one in frames:
        assert np.abs(one.pixels.astype(int) - (20, 20, 220)).mean() < 4


def test_a_picture_that_is_none_is_named() -> None:
    with pytest.raises(BadFrame) as found:
        film_of([picture(0), picture(1)[:200]])
    assert (found.value.index, type(found.value.error)) == (1, UnreadableImage)
    with pytest.raises(BadFrame, match="20 x 10 pixels, and the first frame has 320 x 256") as found:
        film_of([picture(0), encoded(Image.new("RGB", (20, 10)))])
    assert found.value.index == 1
    with pytest.raises(BadFrame) as found:
        film_of([picture(0)], max_pixels=1000)
    assert isinstance(found.value.error, ImageTooLarge)


def test_so_is_one_that_cannot_be_had() -> None:
    def contents() -> Iterator[bytes]:
        yield picture(0)
        raise UnreadableImage("no base64")

    with pytest.raises(BadFrame, match="no base64") as found:
        film_of(contents())
    assert found.value.index == 1


def test_the_bytes_are_bounded_on_the_way() -> None:
    taken = []

    def contents() -> Iterator[bytes]:
        for number in range(100):
            taken.append(number)
            yield picture(number % 9)

    with pytest.raises(OverflowError):
        film_of(contents(), max_bytes=30_000)
    assert len(taken) < 20


def test_it_stops_between_pictures() -> None:
    left = iter([True, True, False])
    assert film_of((picture(number) for number in range(9)), go_on=lambda: next(left)) == b""
    assert film_of([]) == b""
