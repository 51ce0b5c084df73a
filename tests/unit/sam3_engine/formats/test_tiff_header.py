"""TIFF files whose numbers no reader knows are refused in words, and never a black picture."""

import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from sam3_engine.errors import UnreadableImage
from sam3_engine.formats.tiff_header import tiff_header
from sam3_engine.images import decode_image

RAMP = np.linspace(0, 100, 12 * 16).reshape(12, 16)
KINDS = {"u": 1, "i": 2, "f": 3, "c": 6}


def tiff(values: npt.NDArray[Any]) -> bytes:
    """A file without compression, of numbers that no library here writes."""
    height, width = values.shape[:2]
    channels = values.shape[2] if values.ndim == 3 else 1
    pixels = values.tobytes()
    directory = 8 + len(pixels)
    short, long = "H", "I"
    tags: list[tuple[int, str, list[int]]] = [
        (256, long, [width]),
        (257, long, [height]),
        (258, short, [values.dtype.itemsize * 8] * channels),
        (259, short, [1]),
        (262, short, [2 if channels >= 3 else 1]),
        (273, long, [8]),
        (277, short, [channels]),
        (278, long, [height]),
        (279, long, [len(pixels)]),
        *([(338, short, [2])] if channels in (2, 4) else []),
        (339, short, [KINDS[values.dtype.kind]] * channels),
    ]
    entries, behind = b"", b""
    after = directory + 2 + 12 * len(tags) + 4
    for tag, kind, numbers in tags:
        raw = struct.pack(f"<{len(numbers)}{kind}", *numbers)
        if len(raw) > 4:
            raw, behind = struct.pack("<I", after + len(behind)), behind + raw
        entries += struct.pack("<HHI", tag, 3 if kind == short else 4, len(numbers)) + raw.ljust(4, b"\0")
    head = b"II*\0" + struct.pack("<I", directory)
    return head + pixels + struct.pack("<H", len(tags)) + entries + bytes(4) + behind


def file_of(dtype: str, channels: int) -> bytes:
    values = RAMP if channels == 1 else np.stack([RAMP] * channels, axis=2)
    return tiff(values.astype(dtype))


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize(
    "dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32", "float64"]
)
def test_the_kinds_that_the_refusals_name_are_read(dtype: str, channels: int) -> None:
    square = decode_image(file_of(dtype, channels), max_pixels=None, target=8).square
    if dtype != "uint8" or channels < 4:
        assert square.max() > square.min()


@pytest.mark.parametrize(
    ("dtype", "channels", "named"),
    [
        ("float16", 1, "1 channel of 16-bit floats"),
        ("float16", 3, "3 channels of 16-bit floats"),
        ("complex64", 1, "1 channel of 64-bit complex numbers"),
        ("uint8", 5, "5 channels of 8-bit unsigned integers"),
        ("uint16", 2, "2 channels of 16-bit unsigned integers"),  # OpenCV returns zeros
        ("int16", 2, "2 channels of 16-bit signed integers"),
    ],
)
def test_other_kinds_are_refused_by_name_with_what_is_read(dtype: str, channels: int, named: str) -> None:
    with pytest.raises(
        UnreadableImage, match=f"has {named}, which are not read. Read are integers of up to 16"
    ):
        decode_image(file_of(dtype, channels), max_pixels=None, target=8)


def test_a_broken_file_of_a_kind_that_is_read_is_called_broken() -> None:
    header = tiff_header(file_of("float32", 3))
    assert header is not None
    assert "broken" in header.refusal
