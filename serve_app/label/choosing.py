"""Chooses the images of a run, and the split of each, by the digest of its name: the same at every run."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from serve_app.label.lists import SourceImage


def chosen(images: Sequence[SourceImage], limit: int | None, sample: int | None) -> list[SourceImage]:
    """The first `limit` images, or all; of these `sample` from anywhere, or all. In their order."""
    kept = images[:limit]
    if sample is not None:
        kept = sorted(
            sorted(kept, key=lambda image: _place(image.location))[:sample], key=lambda image: image.location
        )
    return list(kept)


@dataclass(frozen=True, slots=True)
class Split:
    """Shares of the images for validation and test; the rest is for training. by_folder: all images of a folder go the
    same way, such as the frames of one video."""

    val: float = 0.1
    test: float = 0.0
    by_folder: bool = False

    def __post_init__(self) -> None:
        if not (0 <= self.val <= 1 and 0 <= self.test <= 1 and self.val + self.test <= 1):
            raise ValueError(f"val {self.val:g} and test {self.test:g} are no shares of one whole")

    @property
    def names(self) -> list[str]:
        """The splits that may have images."""
        shares = {"train": 1 - self.val - self.test, "val": self.val, "test": self.test}
        return [name for name, share in shares.items() if share > 0]

    def of(self, name: str) -> str:
        """train, val or test, for an image's name in the data set."""
        group = str(PurePosixPath(name).parent) if self.by_folder else name
        place = _place(group)
        if place < self.test:
            return "test"
        return "val" if place < self.test + self.val else "train"


def _place(text: str) -> float:
    """A number in [0, 1) that looks random and depends on the text alone."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
