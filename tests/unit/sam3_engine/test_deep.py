"""Pictures with more than 8 bits per channel can be seen, with any range, outliers and no-data values."""

from io import BytesIO
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, TiffImagePlugin

from sam3_engine.deep import to_eight_bits
from sam3_engine.errors import ImageTooLarge, UnreadableImage
from sam3_engine.formats.tiff_header import NO_DATA_TAG
from sam3_engine.images import decode_image, decode_picture, open_upright, probe

RAMP = np.linspace(0, 1, 60 * 80).reshape(60, 80)
COLOURS = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], axis=2)
Seen = npt.NDArray[np.int64]


def tiff(values: npt.NDArray[Any]) -> bytes:
    """A TIFF file of the values, by OpenCV, which writes every number that it reads."""
    stored = values[..., [2, 1, 0, 3][: values.shape[2]]] if values.ndim == 3 else values
    # Its own choice for float colours, SGILog, loses precision.
    done, content = cv2.imencode(
        ".tiff", stored, (cv2.IMWRITE_TIFF_COMPRESSION, cv2.IMWRITE_TIFF_COMPRESSION_LZW)
    )
    assert done
    return content.tobytes()


def png(values: npt.NDArray[Any]) -> bytes:
    done, content = cv2.imencode(
        ".png", values[..., [2, 1, 0, 3][: values.shape[2]]] if values.ndim == 3 else values
    )
    assert done
    return content.tobytes()


def seen(content: bytes) -> Seen:
    return np.asarray(open_upright(content)).astype(np.int64)


def assert_shows(picture: Seen, values: npt.NDArray[Any]) -> None:
    """The picture is the one whose values run from 0 to 1, but for the half per cent at both ends."""
    expected = values * 255 if values.ndim == 3 else np.repeat(values[..., None] * 255, 3, axis=2)
    assert np.abs(picture - expected).max() <= 3


@pytest.mark.parametrize("write", [png, tiff])
@pytest.mark.parametrize("values", [RAMP, COLOURS], ids=["grey", "colour"])
@pytest.mark.parametrize("bits", [10, 12, 16])
def test_any_number_of_bits_in_sixteen_is_as_bright(write: Any, values: npt.NDArray[Any], bits: int) -> None:
    assert_shows(seen(write((values * (2**bits - 1)).astype(np.uint16))), values)


@pytest.mark.parametrize("values", [RAMP, COLOURS], ids=["grey", "colour"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("low", "high"), [(0, 1), (-40.5, 3000), (0, 1e-6)])
def test_float_pictures_are_seen(values: npt.NDArray[Any], dtype: Any, low: float, high: float) -> None:
    content = tiff((low + values * (high - low)).astype(dtype))
    assert_shows(seen(content), values)
    assert probe(content).size == decode_image(content, max_pixels=4800, target=16).size == (60, 80)
    assert probe(content).format == "TIFF"


@pytest.mark.parametrize("outlier", [2**31 - 1, -(2**31), 10**6, -9999])
@pytest.mark.parametrize("pixels", [1, 10])
def test_a_few_outliers_do_not_flatten_whole_numbers(outlier: int, pixels: int) -> None:
    values = (RAMP * 3000).astype(np.int32)
    values.flat[:pixels] = outlier
    assert_shows(seen(tiff(values))[5:], RAMP[5:])


@pytest.mark.parametrize("no_data", [-9999.0, -3.4028235e38, 3.4028235e38, 1e30, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_data_does_not_flatten_a_picture_however_much_of_it_there_is(no_data: float, dtype: Any) -> None:
    values = (RAMP * 3000).astype(dtype)
    values[:, :30] = no_data
    picture = seen(tiff(values))
    assert_shows(picture[:, 30:], RAMP[:, 30:])
    assert set(np.unique(picture[:, :30])) <= {0, 255}


def test_the_no_data_value_that_a_file_names_is_not_part_of_the_picture() -> None:
    values = (1000 + RAMP * 500).astype(np.float32)
    values[:, :30] = 0.0
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[NO_DATA_TAG] = "0"
    file = BytesIO()
    Image.fromarray(values).save(file, "TIFF", tiffinfo=tags)
    picture = seen(file.getvalue())
    assert_shows(picture[:, 30:], RAMP[:, 30:])
    assert (picture[:, :30] == 0).all()


def test_saturated_spots_do_not_darken_the_rest() -> None:
    values = (RAMP * 4000).astype(np.uint16)
    values[10:20, 10:20] = 65535
    picture = seen(tiff(values))
    assert (picture[10:20, 10:20] == 255).all()
    assert_shows(picture[25:], RAMP[25:])


def test_two_values_are_black_and_white() -> None:
    for values in (np.array([[-5, 7]]), np.array([[0, 65535]], dtype=np.uint16), np.array([[1.0, 2.0]])):
        assert to_eight_bits(values).tolist() == [[0, 255]]


@pytest.mark.parametrize(
    "values", [np.full((4, 4), 7.0), np.full((4, 4), np.nan), np.zeros((4, 4), np.uint16)]
)
def test_a_picture_of_one_value_is_black(values: npt.NDArray[Any]) -> None:
    assert (to_eight_bits(values) == 0).all()


@pytest.mark.parametrize("write", [png, tiff])
def test_deep_alpha_has_its_own_range(write: Any) -> None:
    alpha = np.full((60, 80, 1), 1.0)
    alpha[:, :40] = 0.0
    values = (np.concatenate([COLOURS, alpha], axis=2) * 65535).astype(np.uint16)
    picture = seen(write(values))
    assert (picture[:, :39] == 255).all(), "white, as nobody sees it"
    assert_shows(picture[:, 41:], COLOURS[:, 41:])
    values[..., 3] = 0
    assert_shows(seen(write(values)), COLOURS)


def test_a_large_pictures_range_is_found_from_all_its_channels() -> None:
    tall = np.repeat(np.repeat(COLOURS, 12, axis=0), 12, axis=1)
    tall[..., 1] *= 0.1
    content = png((tall * 4095).astype(np.uint16))
    assert_shows(seen(content), tall)


def test_pictures_in_memory_follow_the_same_rule() -> None:
    values = (RAMP * 4095).astype(np.uint16)
    from_file = decode_image(png(values), max_pixels=9999, target=32).square
    assert np.array_equal(decode_picture(Image.fromarray(values), 32).square, from_file)


def test_the_limit_of_pixels_holds_for_files_that_pillow_does_not_open() -> None:
    with pytest.raises(ImageTooLarge, match="80 x 60"):
        decode_image(tiff(COLOURS), max_pixels=4799, target=16)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_truncated_file_that_pillow_does_not_open_is_refused(share: float) -> None:
    content = tiff(COLOURS)
    with pytest.raises(UnreadableImage):
        decode_image(content[: int(len(content) * share)], max_pixels=10**6, target=16)


@pytest.mark.parametrize(
    ("dtype", "top"),
    [
        *((dtype, 255) for dtype in ("uint16", "int16", "uint32", "int32", "uint64", "int64")),
        *((dtype, top) for dtype in ("float16", "float32", "float64") for top in (1, 255)),
        *(("uint16", top) for top in (1, 1023, 4095, 65535)),
        ("int16", 32767),
        ("int32", 2**31 - 1),
        ("float32", 65535),
    ],
)
def test_opacity_is_relative_to_the_depth_of_the_alpha_channel(dtype: str, top: int) -> None:
    alpha = np.where(np.arange(80) < 40, 0.0, 1.0) * np.ones((60, 1))
    values = np.dstack([COLOURS * 200, alpha * top]).astype(dtype)
    seen = to_eight_bits(values)
    assert (seen[..., 3] == alpha * 255).all()
    assert np.abs(seen[..., :3] - COLOURS * 255).max() <= 4
    if top > 1:
        values[:, 20:40, 3] = top // 2
        assert set(np.unique(to_eight_bits(values)[:, 20:40, 3])) <= {127, 128}


@pytest.mark.parametrize("write", [png, tiff])
def test_twelve_bits_of_alpha_in_a_file_are_opaque(write: Any) -> None:
    values = (np.dstack([COLOURS, np.ones((60, 80))]) * 4095).astype(np.uint16)
    assert_shows(seen(write(values)), COLOURS)


@pytest.mark.parametrize("scale", [1e-310, 1e-323, 1e29])
def test_floats_of_any_size_are_seen(scale: float) -> None:
    values = np.array([[0.0, 2.0, 4.0]]) * scale
    assert to_eight_bits(values).tolist() in ([[0, 128, 255]], [[0, 127, 255]])


def test_the_grey_value_that_a_png_names_as_transparent_is_not_seen() -> None:
    values = (RAMP * 4095 + 3000).astype(np.uint16)
    values[:, :30] = 7
    file = BytesIO()
    Image.fromarray(values).save(file, "PNG", transparency=7)
    assert b"tRNS" in file.getvalue()
    picture = seen(file.getvalue())
    assert (picture[:, :30] == 255).all()
    assert_shows(picture[:, 30:], RAMP[:, 30:])
