"""First step: the file of each image, decoded and resized to the model's square. Needs no torch."""

import hashlib
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from sam3_engine.errors import EngineError
from sam3_engine.images import decode_image, lift_pillow_limit
from sam3_engine.sources import read_content
from serve_app.label.rows import DECODED


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
        rows = [self._row(row["location"], row["name"]) for row in table.to_pylist()]
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


def read_file(location: str) -> bytes:
    """The bytes at a path or URL. Raises OSError and EngineError, and ImportError for a storage whose client
    is not installed."""
    if "://" not in location or location.startswith(("http://", "https://")):
        content = read_content(location)
        assert isinstance(content, bytes)
        return content
    import fsspec

    try:
        with fsspec.open(location, "rb") as file:
            return bytes(file.read())
    except (OSError, ImportError):
        raise
    except Exception as error:  # each storage's client has its own
        raise OSError(f"{type(error).__name__}: {error}") from error


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
