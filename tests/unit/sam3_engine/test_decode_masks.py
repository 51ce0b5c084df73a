import subprocess
import sys

import numpy as np
import pytest

from sam3_engine.decode_masks import decode_masks
from sam3_engine.encode_masks import encode
from sam3_engine.regions import RegionMask
from sam3_engine.types import ImageSize, MaskFormat
from tests.unit.sam3_engine.mask_cases import SIZES, random_mask

# pycocotools.mask.decode knows no numpy 2 yet.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)


@pytest.mark.parametrize("mask_format", ["polygon_holes", "rle", "binary"])
@pytest.mark.parametrize("size", SIZES)
def test_decoding_returns_the_encoded_mask(mask_format: MaskFormat, size: tuple[int, int]) -> None:
    for seed in range(6):
        region = RegionMask.from_full(random_mask(seed, size))
        decoded = decode_masks(encode(region, mask_format), mask_format, region.size)
        assert (decoded.size, decoded.x0, decoded.y0) == (region.size, region.x0, region.y0)
        assert np.array_equal(decoded.crop, region.crop)


def test_plain_polygons_come_back_without_their_holes() -> None:
    ring = np.ones((9, 9), dtype=np.bool_)
    ring[3:6, 3:6] = False
    region = RegionMask.from_full(ring)
    assert decode_masks(encode(region, "polygon"), "polygon", region.size).area == 81


@pytest.mark.parametrize("mask_format", ["rle", "binary"])
def test_masks_of_another_image_are_refused(mask_format: MaskFormat) -> None:
    region = RegionMask.from_full(np.ones((4, 6), dtype=np.bool_))
    with pytest.raises(ValueError, match="the mask is 4 x 6, the image 6 x 4"):
        decode_masks(encode(region, mask_format), mask_format, ImageSize(6, 4))


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ValueError, match="'svg'"):
        decode_masks([], "svg", ImageSize(4, 4))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "module", ["decode_masks", "draw", "encode_masks", "nms", "sources", "prompt_forms", "hub"]
)
def test_clients_need_no_torch(module: str) -> None:
    script = f"import sys, sam3_engine.{module}; print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"
