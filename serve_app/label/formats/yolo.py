"""YOLO's text files, as Ultralytics reads them: images/<split>/, labels/<split>/ and data.yaml.

A line is an object: the number of its class, and either its box or one closed outline, in shares of the image's sides.
An object of several parts, or with holes, becomes one outline: bridges without width lead from part to part.

Ultralytics finds the labels of an image by the last folder `images` of its path, so no folder below it has that name.
It passes over endings that it does not know.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from sam3_engine.polygons import to_polygons_with_holes
from serve_app.label.catalogue import Catalogue, LabelledImage, LabelledObject
from serve_app.label.formats.pictures import put

Points = npt.NDArray[np.float64]
JPEG = (".jpe", ".jfif")
"""Endings of JPEG files that Ultralytics does not know."""
WITHIN = 0.25
"""Added to the number of a pixel: readers that cut the fraction off, and readers that round, find the same pixel."""


def write_yolo_outlines(catalogue: Catalogue, folder: Path) -> None:
    """For segmentation."""
    _write(catalogue, folder, lambda one: outline(one).ravel())


def write_yolo_boxes(catalogue: Catalogue, folder: Path) -> None:
    """For detection."""
    _write(catalogue, folder, lambda one: box(one))


def box(one: LabelledObject) -> Points:
    """Centre, width and height: float [4] in shares of the image's sides."""
    x0, y0, x1, y1 = one.box
    height, width = one.rle["size"]
    return np.array([(x0 + x1) / 2 / width, (y0 + y1) / 2 / height, (x1 - x0) / width, (y1 - y0) / height])


def outline(one: LabelledObject) -> Points:
    """One closed outline around all parts and holes, float [N, 2] in shares of the image's sides."""
    rings = [
        np.array(ring, dtype=np.float64)
        for part in to_polygons_with_holes(one.mask())
        for ring in (part["outer"], *part["holes"])
    ]
    height, width = one.rle["size"]
    joined: Points = (_joined(rings) + WITHIN) / [width, height]
    return joined


def _joined(rings: list[Points]) -> Points:
    """Rings as one: each is visited from the point of those before that is the nearest, and left the same way."""
    whole = rings[0]
    for ring in rings[1:]:
        distances = ((whole[:, None] - ring[None]) ** 2).sum(axis=2)
        at, first = np.unravel_index(int(distances.argmin()), distances.shape)
        visit = np.roll(ring, -int(first), axis=0)
        whole = np.concatenate([whole[: at + 1], visit, visit[:1], whole[at:]])
    return whole


def _write(catalogue: Catalogue, folder: Path, numbers: Callable[[LabelledObject], Points]) -> None:
    for split in catalogue.split.names:
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
    for found in catalogue:
        image = replace(found, file=_file(found.file))
        put(image, folder / "images" / image.split)
        labels = folder / "labels" / image.split / f"{image.stem}.txt"
        labels.parent.mkdir(parents=True, exist_ok=True)
        labels.write_text("".join(_lines(image, numbers)), encoding="utf-8")
    (folder / "data.yaml").write_text(_data(catalogue), encoding="utf-8")


def _file(name: str) -> str:
    """The name as Ultralytics takes it; different names stay different."""
    path = PurePosixPath(name)
    folders = [re.sub("^(images_*)$", r"\1_", part) for part in path.parent.parts]
    last = path.with_suffix(".jpg") if path.suffix.lower() in JPEG else path
    return "/".join([*folders, last.name])


def _lines(image: LabelledImage, numbers: Callable[[LabelledObject], Points]) -> Iterator[str]:
    for one in image.objects:
        yield " ".join([str(one.number), *(f"{value:.7g}" for value in numbers(one))]) + "\n"


def _data(catalogue: Catalogue) -> str:
    """YAML without a library: JSON's texts are YAML's. Ultralytics needs both `train` and `val`."""
    splits = catalogue.split.names
    first = splits[0]
    lines = [f"{name}: images/{name if name in splits else first}" for name in ("train", "val")]
    lines += ["test: images/test"] if "test" in splits else []
    names = [
        f"  {number}: {json.dumps(name, ensure_ascii=False)}" for number, name in enumerate(catalogue.classes)
    ]
    return "\n".join([*lines, f"nc: {len(catalogue.classes)}", "names:", *names, ""])
