"""Decoding takes at most 8 bytes for each pixel and a constant: every kind of every format."""

import sys

import pytest

from tests.support.decoding_memory import CONSTANT, READ, decoded

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from Linux's /proc")


@pytest.mark.parametrize("name", READ)
def test_decoding_takes_eight_bytes_a_pixel_and_a_constant(name: str) -> None:
    results = decoded(READ[name]())
    assert [refusal for *_, refusal in results] == ["", ""]
    for pixels, taken, _ in results:
        print(f"{name}: {taken / int(pixels):.1f} bytes a pixel of {int(pixels) / 1e6:.0f} megapixels")
        assert taken <= 8 * int(pixels) + CONSTANT
