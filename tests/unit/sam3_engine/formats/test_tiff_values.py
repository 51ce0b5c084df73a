"""The numbers of a TIFF file are shown as its tags mean them, in any type, byte order and layout."""

import lzma
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import TiffImagePlugin

from sam3_engine.errors import UnreadableImage
from sam3_engine.images import open_upright

tifffile = pytest.importorskip("tifffile", reason="writes kinds of TIFF that OpenCV does not")
RAMP = np.linspace(0, 1, 60 * 80).reshape(60, 80)
COLOURS = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], axis=2)
DEEP = ["uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"]
OPACITY = np.where(np.arange(80) < 40, 0.5, 1.0) * np.ones((60, 1))


def tiff_file(values: npt.NDArray[Any], path: Any, **options: Any) -> bytes:
    tifffile.imwrite(path, values, **options)
    return bytes(path.read_bytes())


def numbers(values: npt.NDArray[Any], dtype: str) -> npt.NDArray[Any]:
    """The values from 0 to 1 over the type's whole range, but for floats."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return (values * 5 - 2).astype(kind)
    low, high = float(np.iinfo(kind).min), float(np.iinfo(kind).max)
    return (low + values * 0.999 * (high - low)).astype(kind)


def error(content: bytes, values: npt.NDArray[Any]) -> float:
    """The largest difference in grey levels to the values from 0 to 1."""
    expected = values * 255 if values.ndim == 3 else np.repeat(values[..., None] * 255, 3, axis=2)
    return float(np.abs(np.asarray(open_upright(content)).astype(float) - expected).max())


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("dtype", ["int8", *DEEP])
def test_every_type_is_seen_whatever_the_byte_order_and_the_size_of_the_file(
    dtype: str, order: str, big: bool, tmp_path: Any
) -> None:
    for values, photometric in ((RAMP, "minisblack"), (COLOURS, "rgb")):
        content = tiff_file(
            numbers(values, dtype),
            tmp_path / "image.tif",
            photometric=photometric,
            byteorder=order,
            bigtiff=big,
        )
        if big and order == ">":
            with pytest.raises(UnreadableImage, match="a BigTIFF image in big-endian byte order"):
                open_upright(content)
            continue
        assert error(content, values) <= 4


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("dtype", ["uint8", "int8", *DEEP])
def test_where_white_is_zero_the_picture_is_no_negative(
    dtype: str, compression: str | None, tmp_path: Any
) -> None:
    content = tiff_file(
        numbers(RAMP, dtype), tmp_path / "image.tif", photometric="miniswhite", compression=compression
    )
    assert error(content, 1 - RAMP) <= 4


@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32"])
def test_a_fourth_band_without_a_meaning_is_ignored(dtype: str, planes: str, tmp_path: Any) -> None:
    values = numbers(np.concatenate([COLOURS, RAMP[..., None] * 0.1], axis=2), dtype)
    content = tiff_file(
        values if planes == "contig" else np.moveaxis(values, 2, 0),
        tmp_path / "image.tif",
        photometric="rgb",
        planarconfig=planes,
        extrasamples=["unspecified"],
    )
    assert error(content, COLOURS) <= 4


@pytest.mark.parametrize("top", [4095, 65535])
def test_colours_that_are_multiplied_by_alpha_are_those_of_straight_ones(top: int, tmp_path: Any) -> None:
    alpha = OPACITY[..., None]
    shown = COLOURS * alpha + 1 - alpha
    for kind, colours in (("unassalpha", COLOURS), ("assocalpha", COLOURS * alpha)):
        values = (np.concatenate([colours, alpha], axis=2) * top).round().astype(np.uint16)
        content = tiff_file(values, tmp_path / "image.tif", photometric="rgb", extrasamples=[kind])
        assert error(content, shown) <= 4


def test_a_palette_of_16_bits_is_refused_by_name(tmp_path: Any) -> None:
    content = tiff_file(
        (RAMP * 63).astype(np.uint16),
        tmp_path / "image.tif",
        photometric="palette",
        colormap=np.zeros((3, 65536), np.uint16),
    )
    with pytest.raises(UnreadableImage, match="a palette of 16-bit numbers"):
        open_upright(content)


def test_deep_colours_in_a_compression_that_is_not_read_are_refused_by_name() -> None:
    with pytest.raises(UnreadableImage, match="3 channels of 16-bit unsigned integers in LZMA compression"):
        open_upright(lzma_file())


def lzma_file() -> bytes:
    """Colours of 12 bits in 16; tifffile needs a package of its own for LZMA."""
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    values = (COLOURS * 4095).astype("<u2").tobytes()
    data = lzma.compress(values)
    tags[256], tags[257], tags[258] = 80, 60, (16, 16, 16)
    tags[259], tags[262], tags[277], tags[278] = 34925, 2, 3, 60
    tags[273], tags[279] = 0, len(data)
    tags.tagtype[273] = tags.tagtype[279] = 4
    head = tags.tobytes(8)  # which sets the strip's place behind it
    return b"II*\0" + (8).to_bytes(4, "little") + head + data
