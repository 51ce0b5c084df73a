"""BMP files in runs of pixels: Pillow reads them in Python, run by run, while no other thread runs."""

from sam3_engine.errors import ImageTooLarge

SIGNATURE = b"BM"
MOST_RUN_BYTES = 2**21
"""Bytes of a file in runs; each run has two."""
_COMPRESSION = slice(30, 34)
_RUNS = (1, 2)


def check(content: bytes) -> None:
    """Raises ImageTooLarge for a BMP file with more runs than are read in about a second."""
    runs = int.from_bytes(content[_COMPRESSION], "little") in _RUNS
    if content.startswith(SIGNATURE) and runs and len(content) > MOST_RUN_BYTES:
        raise ImageTooLarge(
            "a run-length coded BMP image may have at most 2 MiB; save it without compression"
        )
