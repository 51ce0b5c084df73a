"""The labelled images as formats name them: a number, a name that no other image has, and a split.

All three follow from the set of the images alone, in whatever order and however often the command ran.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from sam3_engine.regions import RegionMask
from sam3_engine.rle import Rle, from_rle
from sam3_engine.types import Box, ImageSize
from serve_app.label.choosing import Split
from serve_app.label.dataset import BrokenDataset, Dataset
from serve_app.label.texts import escaped

LONGEST, ENDING = 244, 5
"""Bytes of a file's name and of its ending. File systems take 255 in all; a number may come between."""


@dataclass(frozen=True, slots=True)
class LabelledObject:
    """An object. number: of its class, from 0. box: (x0, y0, x1, y1) in pixels, x1 and y1 exclusive. rle: COCO's."""

    name: str
    number: int
    score: float
    box: Box
    area: int
    rle: Rle

    def mask(self) -> RegionMask:
        """Its pixels."""
        return RegionMask.from_full(from_rle(self.rle))


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """An image with its objects, highest score first. number: from 1.

    file: its name in the data set, a path with forward slashes, which differs from all others by more than its ending.
    listed: its name below its source, unless another image has exactly that one, too; else `file`. For formats without
    a file for each image. linked: whether formats that have image files get a link to a file of this machine, and no
    copy.
    """

    number: int
    file: str
    listed: str
    split: str
    location: str
    size: ImageSize
    look: int
    objects: Sequence[LabelledObject]
    linked: bool

    @property
    def stem(self) -> str:
        """The name without its ending."""
        return str(PurePosixPath(self.file).with_suffix(""))


class Catalogue:
    """The labelled images of a data set. classes: the names, in their order. linked: see LabelledImage."""

    def __init__(self, dataset: Dataset, classes: Sequence[str], split: Split, linked: bool = True) -> None:
        self._dataset = dataset
        self._linked = linked
        self.classes = list(classes)
        self.split = split
        names = {row["location"]: row["name"] for row in dataset.images(["name"])}
        self._files = _files(names)
        self._listed = _listed(names, self._files)
        self._numbers = {location: number for number, location in enumerate(sorted(names), 1)}

    def __len__(self) -> int:
        return len(self._numbers)

    def __iter__(self) -> Iterator[LabelledImage]:
        """Every image once; the objects of a few hundred are in memory. Raises BrokenDataset."""
        numbers = {name: number for number, name in enumerate(self.classes)}
        for row in self._dataset.images():
            size = ImageSize(row["height"], row["width"])
            file = self._files[row["location"]]
            objects = [_object(one, numbers, size) for one in row["objects"]]
            yield LabelledImage(
                self._numbers[row["location"]],
                file,
                self._listed.get(row["location"], file),
                self.split.of(row["name"]),
                row["location"],
                size,
                row["look"],
                objects,
                self._linked,
            )


def _object(found: dict[str, Any], numbers: dict[str, int], size: ImageSize) -> LabelledObject:
    x0, y0, x1, y1 = found["box"]
    rle = Rle(size=list(size), counts=found["rle"])
    name = found["class"]
    if name not in numbers:
        raise BrokenDataset(
            f"a part holds objects of the class {name!r}, which the data set does not have: it is of another data set. "
            "Remove that part, or pass --restart to remove all labels and begin again."
        )
    return LabelledObject(name, numbers[name], found["score"], (x0, y0, x1, y1), found["area"], rle)


def _files(names: dict[str, str]) -> dict[str, str]:
    """The names of images by location, different without their endings, on file systems of every kind.

    The second image of a name gets a number behind it; the order is that of the locations.
    """
    wanted = {location: PurePosixPath(_safe(name)) for location, name in sorted(names.items())}
    taken = Counter(_key(path) for path in wanted.values())
    used: set[str] = {key for key, count in taken.items() if count == 1}
    files = {}
    for location, path in wanted.items():
        chosen, number = path, 1
        while taken[_key(path)] > 1 and _key(chosen) in used:
            number += 1
            chosen = path.with_name(f"{path.stem}_{number}{path.suffix}")
        used.add(_key(chosen))
        files[location] = str(chosen)
    return files


def _listed(names: dict[str, str], files: dict[str, str]) -> dict[str, str]:
    """By location the names that `files` does not have although each is one image's alone."""
    wanted = {location: _safe(name) for location, name in names.items()}
    times = Counter(wanted.values())
    return {place: name for place, name in wanted.items() if name != files[place] and times[name] == 1}


def _key(path: PurePosixPath) -> str:
    return str(path.with_suffix("")).casefold()


def _safe(name: str) -> str:
    """The name as a relative path that stays below its folder, of which each part can be a file's name."""
    path = PurePosixPath(escaped(name).replace("\\", "_"))
    parts = [part for part in path.parts if part not in ("/", "..", ".")]
    return "/".join(map(_short, parts)) or "image"


def _short(part: str) -> str:
    """The part of a name, cut where it has more than LONGEST bytes without its ending: URLs and columns have such."""
    path = PurePosixPath(part)
    ending = path.suffix if len(path.suffix) <= ENDING else ""
    return os.fsencode(part.removesuffix(ending))[:LONGEST].decode(errors="ignore") + ending
