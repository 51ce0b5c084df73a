"""Recognising the images of a run that are the files that came with it."""

from typing import Any

import numpy as np
import pytest

from deployments.workflows.images import RunImages
from sam3_engine.errors import ImageTooLarge, UnreadableImage
from tests.support.scenes import encoded, ring, scene

RGB = np.asarray(scene())
PLENTY = 10**6


def run_images(*files: bytes) -> RunImages:
    return RunImages(files or (encoded(scene()),), PLENTY)


def test_files_are_given_to_the_engine_as_bgr_that_may_be_painted_on() -> None:
    pixels = run_images().decode(0)
    assert np.array_equal(pixels[..., ::-1], RGB)
    assert pixels.dtype == np.uint8
    pixels[:] = 0


def test_the_pixels_of_a_file_are_asked_about_as_that_file() -> None:
    images = run_images(encoded(scene()), encoded(ring()))
    first, second = images.decode(0), images.decode(1)
    assert images.describe(second) == ({"file": 1}, [])
    assert images.describe({"type": "numpy_object", "value": first}) == ({"file": 0}, [])
    assert images.describe(first.copy()) == ({"file": 0}, [])


def test_a_change_makes_another_image_and_undoing_it_the_file_again() -> None:
    images = run_images()
    pixels = images.decode(0)
    pixels[5, 7, 1] ^= 1
    header, (part,) = images.describe(pixels)
    assert header == {"shape": list(pixels.shape)}
    assert np.array_equal(np.frombuffer(part, np.uint8).reshape(pixels.shape), pixels[..., ::-1])
    pixels[5, 7, 1] ^= 1
    assert images.describe(pixels) == ({"file": 0}, [])


def test_equal_bytes_in_another_shape_are_another_image() -> None:
    images = run_images()
    pixels = images.decode(0)
    height, width, _ = pixels.shape
    header, _ = images.describe(pixels.reshape(width, height, 3))
    assert header == {"shape": [width, height, 3]}


@pytest.mark.parametrize("channels", [(), (1,), (4,)])
def test_other_numbers_of_channels_become_colours(channels: tuple[int, ...]) -> None:
    header, (part,) = run_images().describe(np.full((4, 6, *channels), 200, np.uint8))
    assert header == {"shape": [4, 6, 3]}
    assert set(part.tobytes()) == {200}


def test_a_crop_need_not_be_contiguous() -> None:
    images = run_images()
    crop = images.decode(0)[10:20, 30:50]
    header, (part,) = images.describe(crop)
    assert header == {"shape": [10, 20, 3]}
    assert part.tobytes() == np.ascontiguousarray(crop[..., ::-1]).tobytes()


@pytest.mark.parametrize(
    "wrong", [None, "x", np.zeros((0, 4, 3), np.uint8), np.zeros((4, 4, 3), np.float32), {"value": [1]}]
)
def test_values_that_are_no_image_are_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="8-bit pixels"):
        run_images().describe(wrong)


def test_broken_and_large_files_are_refused() -> None:
    with pytest.raises(UnreadableImage):
        run_images(b"no image").decode(0)
    with pytest.raises(ImageTooLarge):
        RunImages([encoded(scene())], 100).decode(0)
