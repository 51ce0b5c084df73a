"""COCO's instances: one JSON file for each split.

`coco` has masks in run-length encoding, equal to the pixels found. `coco-polygons` has outlines, for tools that read
nothing else, without holes. Categories have the numbers of the
classes' order, from 1. `iscrowd` is 0: each annotation is one object.
"""

import json
import shutil
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

from serve_app.label.catalogue import Catalogue, LabelledImage, LabelledObject
from serve_app.label.formats.outlines import outlines
from serve_app.label.parquet import is_row
from serve_app.label.reading import local_file

Segmentation = Callable[[LabelledObject], Any]


def write_coco(catalogue: Catalogue, folder: Path) -> None:
    """annotations/instances_<split>.json, with masks."""
    _write(catalogue, folder, lambda one: dict(one.rle))


def write_coco_polygons(catalogue: Catalogue, folder: Path) -> None:
    """annotations/instances_<split>.json, with outlines."""
    _write(catalogue, folder, _flat)


def _flat(one: LabelledObject) -> list[list[float]]:
    """[x, y, x, y, ...] for each connected part of the mask."""
    return [[value for point in ring for value in point] for ring in outlines(one.mask())]


def _write(catalogue: Catalogue, folder: Path, segmentation: Segmentation) -> None:
    annotations = folder / "annotations"
    annotations.mkdir()
    with ExitStack() as stack:
        files = {
            split: stack.enter_context(_Instances(annotations, split)) for split in catalogue.split.names
        }
        number = 0
        for image in catalogue:
            files[image.split].add(image)
            for one in image.objects:
                number += 1
                files[image.split].annotate(_annotation(number, image, one, segmentation))
        for split, file in files.items():
            file.join(annotations / f"instances_{split}.json", catalogue.classes)


def _annotation(
    number: int, image: LabelledImage, one: LabelledObject, segmentation: Segmentation
) -> dict[str, Any]:
    x0, y0, x1, y1 = one.box
    return {
        "id": number,
        "image_id": image.number,
        "category_id": one.number + 1,
        "segmentation": segmentation(one),
        "area": one.area,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "iscrowd": 0,
        "score": round(one.score, 4),
    }


class _Instances:
    """The two lists of one file, on the disk until they are joined: neither fits into memory for millions."""

    def __init__(self, folder: Path, split: str) -> None:
        self._paths = [folder / f".{split}.{name}" for name in ("images", "annotations")]
        self._files: list[TextIO] = []
        self._counts = [0, 0]

    def __enter__(self) -> "_Instances":
        self._files = [path.open("w+", encoding="utf-8") for path in self._paths]
        return self

    def __exit__(self, *_: object) -> None:
        for file, path in zip(self._files, self._paths, strict=True):
            file.close()
            path.unlink()

    def add(self, image: LabelledImage) -> None:
        """Add an image."""
        entry: dict[str, Any] = {
            "id": image.number,
            "file_name": image.listed,
            "height": image.size.height,
            "width": image.size.width,
        }
        if local_file(image.location) is None and not is_row(image.location):
            entry["coco_url"] = image.location
        self._append(0, entry)

    def annotate(self, annotation: dict[str, Any]) -> None:
        """Add an object of the last image."""
        self._append(1, annotation)

    def _append(self, place: int, entry: dict[str, Any]) -> None:
        self._files[place].write(
            (",\n" if self._counts[place] else "\n") + json.dumps(entry, ensure_ascii=False)
        )
        self._counts[place] += 1

    def join(self, path: Path, classes: list[str]) -> None:
        """Write the whole file."""
        categories = [
            {"id": number, "name": name, "supercategory": ""} for number, name in enumerate(classes, 1)
        ]
        with path.open("w", encoding="utf-8") as whole:
            whole.write(
                '{"info": {"description": "made by sam3-serve label"}, "licenses": [], "categories": '
            )
            whole.write(json.dumps(categories, ensure_ascii=False))
            for name, file in zip(("images", "annotations"), self._files, strict=True):
                whole.write(f', "{name}": [')
                file.seek(0)
                shutil.copyfileobj(file, whole)
                whole.write("]")
            whole.write("}\n")
