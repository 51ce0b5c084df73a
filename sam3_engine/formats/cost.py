"""The memory that decoding a file may take: some bytes for each of its pixels, and a constant."""

from sam3_engine.errors import ImageTooLarge

PIXEL_BYTES = 8
RESERVE = 128 * 2**20
"""Bytes that any file may take beyond PIXEL_BYTES for each pixel."""


def check_cost(needed: int, pixels: int, kind: str) -> None:
    """Raises ImageTooLarge for a file whose decoder would hold more than PIXEL_BYTES a pixel and RESERVE.

    needed: bytes that the decoder holds at once. kind: what the file is, as the refusal names it.
    """
    if not is_allowed(needed, pixels):
        raise ImageTooLarge(
            f"{kind} of {pixels / 1e6:.1f} megapixels takes {needed / 2**20:.0f} MiB to decode, more than the "
            f"{_allowed(pixels) / 2**20:.0f} MiB that are allowed for its pixels"
        )


def is_allowed(needed: int, pixels: int) -> bool:
    """True if a decoder may hold `needed` bytes at once for a picture of so many pixels."""
    return needed <= _allowed(pixels)


def _allowed(pixels: int) -> int:
    return PIXEL_BYTES * pixels + RESERVE
