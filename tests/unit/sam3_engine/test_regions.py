import subprocess
import sys
import textwrap
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sam3_engine.regions import RegionMask, mask_of_array, region_mask
from sam3_engine.types import ImageSize
from tests.unit.sam3_engine.mask_cases import SIZES, full_resolution, random_mask, rough_logits, smooth_logits

NEAR_THRESHOLD = 1e-4


def assert_equals_reference(logits: torch.Tensor, size: ImageSize, inclusive: bool = False) -> None:
    reference = full_resolution(logits, size).numpy()
    expected = reference >= 0 if inclusive else reference > 0
    wrong = region_mask(logits, size, inclusive=inclusive).full() != expected
    assert not (wrong & (np.abs(reference) > NEAR_THRESHOLD)).any()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("make", [smooth_logits, rough_logits])
def test_equals_thresholding_the_full_map(
    size: tuple[int, int], make: Callable[[int, int, int], torch.Tensor]
) -> None:
    for seed in range(3):
        assert_equals_reference(make(seed, 64, 64), ImageSize(*size), inclusive=seed % 2 == 1)


@settings(max_examples=150)
@given(
    seed=st.integers(0, 10**6),
    cells=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    size=st.tuples(st.integers(1, 300), st.integers(1, 300)),
    density=st.floats(0, 1),
    inclusive=st.booleans(),
)
def test_equals_thresholding_the_full_map_for_any_shape(
    seed: int, cells: tuple[int, int], size: tuple[int, int], density: float, inclusive: bool
) -> None:
    logits = rough_logits(seed, *cells)
    # Push most cells below the threshold, so that the region is smaller than the image.
    logits[torch.rand(cells, generator=torch.Generator().manual_seed(seed)) > density] = -3.0
    assert_equals_reference(logits, ImageSize(*size), inclusive)


def test_official_size_with_steep_logits() -> None:
    assert_equals_reference(smooth_logits(1, 288, 288, coarse=9, scale=30), ImageSize(1333, 2000))


def test_bands_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, size = rough_logits(5, 17, 23), ImageSize(211, 97)
    whole = region_mask(logits, size)
    monkeypatch.setattr("sam3_engine.regions.PIXELS_AT_ONCE", 1)
    by_row = region_mask(logits, size)
    assert np.array_equal(whole.crop, by_row.crop)
    assert (whole.x0, whole.y0) == (by_row.x0, by_row.y0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_dtypes(dtype: torch.dtype) -> None:
    logits = smooth_logits(2, 32, 32).to(dtype)
    assert_equals_reference(logits, ImageSize(100, 130))


def test_empty_and_full() -> None:
    size = ImageSize(50, 70)
    empty = region_mask(torch.full((16, 16), -1.0), size)
    assert empty.crop.shape == (0, 0)
    assert empty.area == 0
    assert empty.box == (0, 0, 0, 0)
    assert not empty.full().any()
    full = region_mask(torch.full((16, 16), 1.0), size)
    assert full.area == 50 * 70
    assert full.box == (0, 0, 70, 50)
    assert full.full().all()


def test_a_logit_of_zero_counts_only_when_inclusive() -> None:
    zero = torch.zeros(8, 8)
    assert region_mask(zero, ImageSize(20, 20)).area == 0
    assert region_mask(zero, ImageSize(20, 20), inclusive=True).area == 400


def test_an_instance_that_falls_between_the_pixels_is_empty() -> None:
    logits = torch.full((64, 64), -1.0)
    logits[1, 1] = 1.0  # a 4 x 4 image samples every 16th cell
    assert region_mask(logits, ImageSize(4, 4)).area == 0


def test_nan_is_outside() -> None:
    assert region_mask(torch.full((4, 4), float("nan")), ImageSize(9, 9)).area == 0


@pytest.mark.parametrize("seed", range(12))
def test_the_region_is_tight_and_its_parts_agree(seed: int) -> None:
    mask = random_mask(seed, (41, 33))
    region = RegionMask.from_full(mask)
    assert np.array_equal(region.full(), mask)
    assert region.area == mask.sum()
    if mask.any():
        assert region.crop[0].any()
        assert region.crop[-1].any()
        assert region.crop[:, 0].any()
        assert region.crop[:, -1].any()
        ys, xs = np.nonzero(mask)
        assert region.box == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)


def test_the_region_does_not_keep_a_larger_array_alive() -> None:
    logits = torch.full((64, 64), -1.0)
    logits[10, 10] = 0.1
    region = mask_of_array(logits.numpy(), ImageSize(4000, 4000))
    assert region.crop.base is None or region.crop.base.size == region.crop.size


@pytest.mark.parametrize("shape", [(3,), (1, 4, 4), (0, 4)])
def test_wrong_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\[h, w\]"):
        region_mask(torch.zeros(shape), ImageSize(4, 4))


def test_an_image_without_pixels_is_refused() -> None:
    with pytest.raises(ValueError, match="one pixel"):
        region_mask(torch.zeros(4, 4), ImageSize(0, 4))


PEAK_OF_FIFTY = """
    import resource
    from types import SimpleNamespace
    import numpy as np
    import torch
    from sam3_engine.encode_masks import concept_instances
    from sam3_engine.types import ImageSize

    torch.set_num_threads(1)
    count, side = 50, 288
    ramp = torch.linspace(-4, 4, side)
    most = (torch.arange(count) % 5 > 0)[:, None, None]
    logits = (ramp[:, None] + 0.2 * ramp + 5 * most).contiguous()
    found = SimpleNamespace(
        scores=np.linspace(1, 0.5, count, dtype=np.float32),
        boxes=np.zeros((count, 4), dtype=np.float32),
        mask_logits=logits,
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for mask_format, nms in (("polygon", None), ("rle", 1.0)):
        (instances,) = concept_instances([found], ImageSize(4032, 4032), mask_format, nms)
        print(len(instances), max(instance.area for instance in instances))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print((after - before) * 1024)
"""


def test_fifty_large_instances_stay_far_below_a_gigabyte() -> None:
    """Forty of the fifty cover all of 4032 x 4032: 16 MB each as bytes, 65 MB as floats."""
    script = textwrap.dedent(PEAK_OF_FIFTY)
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    *found, peak = result.stdout.splitlines()
    assert found == [f"50 {4032 * 4032}"] * 2
    assert int(peak) < 300e6
