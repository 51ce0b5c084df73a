"""A track's state in host memory and as bytes, to be kept between frames. Needs numpy only, in any process."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

Arrays = Mapping[str, npt.NDArray[np.generic]]


@dataclass(frozen=True, slots=True)
class StoredTrack:
    """The arrays of a `state.TrackState`; they may be read-only.

    version: of the engine that made it. frame: the last one that was answered. arrays: "conditioning" and "recent",
    memories bfloat16 viewed as uint16 [n, d/4, g, g]; "conditioning_pointers" and "recent_pointers", float32 [n, d];
    "conditioning_frames" and "recent_frames", int64 [n]; "logits", float32 [4g, 4g]. There are more recent pointers
    than recent memories; the memories are those of the last frames.
    """

    version: str
    frame: int
    arrays: Arrays

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays together."""
        return sum(array.nbytes for array in self.arrays.values())

    def to_bytes(self) -> bytes:
        """One block, which any process can read."""
        version = np.frombuffer(self.version.encode(), dtype=np.uint8)
        return save({**self.arrays, "version": version, "frame": np.array([self.frame])})

    @classmethod
    def from_bytes(cls, block: bytes) -> "StoredTrack":
        """The inverse of `to_bytes`. Raises ValueError for anything else."""
        try:
            arrays = load(block)
            version, frame = arrays.pop("version").tobytes().decode(), int(arrays.pop("frame")[0])
        except (SafetensorError, KeyError, IndexError, UnicodeDecodeError) as error:
            raise ValueError("these bytes are no stored track") from error
        if set(arrays) != set(NAMES):
            raise ValueError("these bytes are no stored track")
        return cls(version, frame, arrays)


NAMES = (
    "conditioning",
    "conditioning_pointers",
    "conditioning_frames",
    "recent",
    "recent_pointers",
    "recent_frames",
    "logits",
)
