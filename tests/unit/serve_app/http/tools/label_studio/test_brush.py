"""Masks in Label Studio's run lengths."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.http.tools.label_studio.brush import brush_rle
from tests.support.label_studio import brush_mask


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1), st.integers(1, 9))
def test_any_mask_comes_back(height: int, width: int, seed: int, block: int) -> None:
    """Blocks of several sizes use every size of a run."""
    small = np.random.default_rng(seed).random((height, width)) < 0.5
    mask = np.kron(small, np.ones((1, block), dtype=np.bool_))
    assert np.array_equal(brush_mask(brush_rle(mask), width * block, height), mask)


@pytest.mark.parametrize("value", [False, True])
def test_runs_longer_than_the_format_has_are_split(value: bool) -> None:
    mask = np.full((3, 50_000), value)
    assert np.array_equal(brush_mask(brush_rle(mask), 50_000, 3), mask)


def test_the_bytes_are_those_that_label_studio_reads() -> None:
    """Checked against `label_studio_sdk.converter.brush.decode_rle` of 2.1.2."""
    mask = np.array([[0, 1, 1], [0, 0, 1]], dtype=np.bool_)
    assert bytes(brush_rle(mask)).hex() == "0000001839357c6013ffce011ff8"
