"""First step: the file of each image, decoded and resized to the model's square. Needs no torch."""

import hashlib
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sam3_engine.errors import EngineError, UnreadableImage
from sam3_engine.images import decode_image, lift_pillow_limit
from sam3_engine.sources import read_content
from serve_app.label.parquet import is_row, read_row
from serve_app.label.rows import DECODED

AT_ONCE = 8
"""Images of a batch that are fetched from other machines at the same time."""
TRIES = 3
"""Of an image on the web, where its server is busy or away."""
PAUSE_S = 1.0
MOST_BYTES = 2**30
"""Of a file: an image of as many pixels as are allowed, 16 bits deep and not compressed, has less."""
BUSY = (408, 425, 429)


@dataclass(frozen=True, slots=True)
class ReadImages:
    """A batch function: tables of `rows.TO_READ` to `rows.DECODED`. An image that cannot be read becomes an `error`.

    side: of the model's square, in pixels. max_pixels: refuse larger images.
    """

    side: int
    max_pixels: int

    def __call__(self, table: pa.Table) -> pa.Table:
        """One row an image, in their order."""
        lift_pillow_limit()
        columns = table["location"].to_pylist(), table["name"].to_pylist()
        threads = AT_ONCE if any("://" in location for location in columns[0]) else 1
        with ThreadPoolExecutor(threads) as pool:
            rows = list(pool.map(self._row, *columns))
        return pa.Table.from_pylist(rows, schema=DECODED)

    def _row(self, location: str, name: str) -> dict[str, Any]:
        row: dict[str, Any] = {"location": location, "name": name}
        try:
            content = read_file(location)
            decoded = decode_image(content, max_pixels=self.max_pixels, target=self.side)
        except (EngineError, OSError, ValueError, ImportError, MemoryError) as error:
            return {**row, "error": one_line(error)}
        return {
            **row,
            "height": decoded.size.height,
            "width": decoded.size.width,
            "digest": hashlib.blake2b(content, digest_size=16).hexdigest(),
            "look": look(decoded.square),
            "square": decoded.square.tobytes(),
        }


def local_file(location: str) -> Path | None:
    """The file of this machine that holds the image and nothing else; None for a URL or a row of a Parquet file."""
    return None if "://" in location or is_row(location) else Path(location)


def read_file(location: str) -> bytes:
    """The bytes at a path or URL, or in a row of a Parquet file. Raises OSError and EngineError, and ImportError for a
    storage whose client is not installed."""
    if is_row(location):
        return read_row(location)
    if location.startswith(("http://", "https://")):
        return _download(location)
    if "://" not in location:
        found = Path(location).stat()
        if not stat.S_ISREG(found.st_mode):  # a pipe would never end
            raise OSError("it is no file")
        if found.st_size > MOST_BYTES:
            raise OSError(f"the file has {found.st_size / 2**30:.1f} GiB; at most 1 GiB is read")
        return Path(location).read_bytes()
    import fsspec

    try:
        with fsspec.open(location, "rb") as file:
            return bytes(file.read())
    except (OSError, ImportError):
        raise
    except Exception as error:  # each storage's client has its own
        raise OSError(f"{type(error).__name__}: {error}") from error


def _download(url: str) -> bytes:
    for left in reversed(range(TRIES)):
        try:
            content = read_content(url)
            assert isinstance(content, bytes)
            return content
        except UnreadableImage as error:
            cause = error.__cause__
            refused = isinstance(cause, HTTPError) and cause.code < 500 and cause.code not in BUSY
            if refused or not left:
                raise
        time.sleep(PAUSE_S * 2 ** (TRIES - 1 - left))
    raise AssertionError("there is at least one try")


def one_line(error: Exception) -> str:
    """An error as `errors.jsonl` gives it."""
    text = " ".join((getattr(error, "strerror", None) or str(error)).split())
    return text[:500] or type(error).__name__


def look(square: npt.NDArray[np.uint8]) -> int:
    """A number of 64 bits, few of which differ between images that look alike: whether the brightness rises from each
    cell of a grid to the next one (the "difference hash")."""
    grey = cv2.resize(cv2.cvtColor(square, cv2.COLOR_RGB2GRAY), (9, 8), interpolation=cv2.INTER_AREA)
    rises = grey[:, 1:] > grey[:, :-1]
    return int.from_bytes(np.packbits(rises).tobytes(), "big")
