"""A picture that is read a few rows at a time is the one that is read at once."""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from sam3_engine.deep import to_eight_bits
from sam3_engine.formats import deep_files, opencv, png_strips, tiff, tiff_strips
from sam3_engine.formats.directories import read_directory
from sam3_engine.images import open_upright

tifffile = pytest.importorskip("tifffile", reason="writes layouts of TIFF that OpenCV does not")
RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 65536, (301, 203, 3), dtype=np.uint16)
CHANNELS = {3: COLOURS, 4: np.concatenate([COLOURS, COLOURS[..., :1]], axis=2)}


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiff_strips, "GROUP_BYTES", 20_000)
    monkeypatch.setattr(png_strips, "GROUP_BYTES", 20_000)


def tiff_file(values: npt.NDArray[Any], path: Any, **options: Any) -> bytes:
    tifffile.imwrite(path, values, photometric="rgb", **options)
    return bytes(path.read_bytes())


def rows_of(content: bytes) -> list[npt.NDArray[Any]]:
    directory = read_directory(content)
    assert directory is not None
    layout = tiff.layout(directory)
    assert layout is not None
    return list(tiff_strips.strips(content, directory, tiff_strips.cut(layout)))


@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("layout", [{}, {"rowsperstrip": 7}, {"tile": (64, 48)}], ids=str)
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.float64])
def test_the_rows_of_a_tiff_are_its_picture(
    planes: str, layout: dict[str, Any], compression: str | None, dtype: Any, tmp_path: Any
) -> None:
    values = COLOURS.astype(dtype)
    stored = values if planes == "contig" else np.moveaxis(values, 2, 0)
    options = {"planarconfig": planes, "compression": compression, **layout}
    for order in "<>":
        content = tiff_file(stored, tmp_path / "image.tif", byteorder=order, **options)
        rows = rows_of(content)
        assert np.array_equal(np.concatenate(rows), values)
        assert len(rows) > 4 or (compression and not layout), "a compressed strip cannot be cut"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_rows_are_turned_upright(orientation: int, tmp_path: Any) -> None:
    tags = [(274, 3, 1, orientation, True)]
    content = tiff_file(COLOURS, tmp_path / "image.tif", rowsperstrip=7, extratags=tags)
    whole = opencv.read(content)
    assert whole is not None
    seen = np.asarray(open_upright(content))
    assert seen.shape == ((203, 301, 3) if orientation > 4 else (301, 203, 3))
    assert np.abs(seen.astype(int) - to_eight_bits(whole).astype(int)).max() <= 1


@pytest.mark.parametrize("channels", [3, 4])
def test_the_rows_of_a_png_are_its_picture(channels: int) -> None:
    values = CHANNELS[channels]
    stored = values[..., [2, 1, 0, 3][:channels]]
    for kind in range(5):  # the filters, each of which refers to the row above in its own way
        options = [cv2.IMWRITE_PNG_FILTER, 1 << 3 + kind]
        done, content = cv2.imencode(".png", stored, options)
        assert done
        rows = list(png_strips.strips(content.tobytes()))
        assert len(rows) > 10
        assert np.array_equal(np.concatenate(rows), values)


@pytest.mark.parametrize("dtype", [np.uint16, np.float64])
@pytest.mark.parametrize("channels", [3, 4])
def test_the_eight_bits_are_those_of_the_picture_at_once(channels: int, dtype: Any, tmp_path: Any) -> None:
    """The values of 16 bits are held; values of other types are read twice. The result is the same."""
    values = CHANNELS[channels].astype(dtype)
    options = {"extrasamples": ["unassalpha"]} if channels == 4 else {}
    contents = [tiff_file(values, tmp_path / "image.tif", rowsperstrip=7, **options)]
    if dtype == np.uint16:
        done, encoded = cv2.imencode(".png", values[..., [2, 1, 0, 3][:channels]])
        assert done
        contents.append(encoded.tobytes())
    for content in contents:
        seen = deep_files.read(content, None)
        assert seen is not None
        assert np.array_equal(seen[0], to_eight_bits(values))


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_png_that_is_cut_is_not_read(share: float) -> None:
    done, content = cv2.imencode(".png", COLOURS)
    assert done
    assert deep_files.read(content.tobytes()[: int(len(content) * share)], None) is None


def test_a_wrong_checksum_is_not_read() -> None:
    done, encoded = cv2.imencode(".png", COLOURS)
    assert done
    content = bytearray(encoded.tobytes())
    content[-14] ^= 1
    assert deep_files.read(bytes(content), None) is None
