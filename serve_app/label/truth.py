"""The truth about images: the masks that people have drawn, as a COCO file holds them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco

from sam3_engine.rle import covered
from sam3_engine.types import ImageSize
from serve_app.label.lists import NoImages, SourceImage, coco_images

Encoded = dict[str, Any]
FAR = 2
"""So many sides of its image a corner may lie away from it."""
LARGEST = 65_535
"""Pixels of a side."""


@dataclass(frozen=True, slots=True)
class Truth:
    """The masks of one image by the names of their classes, in COCO's run-length encoding. crowds: regions with an
    unknown number of objects (`iscrowd`); only classes that have some."""

    image: SourceImage
    masks: Mapping[str, Sequence[Encoded]]
    crowds: Mapping[str, Sequence[Encoded]] = field(default_factory=dict)
    size: ImageSize = ImageSize(0, 0)  # noqa: RUF009 - a tuple


def read_truth(path: Path, classes: Sequence[str] | None = None, root: str | None = None) -> list[Truth]:
    """The truth of a COCO file, in the order of its images. classes: their names; None: all of the file's, in its
    order. root: where its paths start, if not at its folder.

    Raises NoImages for another file, for one with errors, and for one that knows none of the classes.
    """
    document, images = coco_images(path, root)
    try:
        return _truths(document, images, classes)
    except (KeyError, TypeError, AttributeError) as error:
        raise NoImages(f"{path} is no COCO file of labels: {type(error).__name__} {error}") from error
    except ValueError as error:
        raise NoImages(f"{path}: {error}") from error


def _truths(
    document: Mapping[str, Any], images: Mapping[int, SourceImage], classes: Sequence[str] | None
) -> list[Truth]:
    rows = document["images"]
    if not rows:
        raise ValueError("it has no image")
    if len(images) < len(rows):
        raise ValueError(f"two images have one id: {_twice(int(row['id']) for row in rows)}")
    if len({image.location for image in images.values()}) < len(images):
        raise ValueError(f"two images are one file: {_twice(image.location for image in images.values())}")
    if any("text_input" in row for row in rows):
        raise ValueError("its images have phrases of their own (the format of SA-Co), which is not read here")
    names = {int(one["id"]): str(one["name"]).strip() for one in document["categories"]}
    if len(set(names.values())) < len(document["categories"]):
        raise ValueError(
            f"two classes have one name: {_twice(str(o['name']) for o in document['categories'])}"
        )
    wanted = list(names.values()) if classes is None else list(classes)
    if not set(wanted) & set(names.values()):
        raise ValueError(f"it has none of the classes, but {', '.join(names.values())[:200] or 'no class'}")
    sizes = {int(row["id"]): _size(row) for row in rows}
    masks: dict[int, dict[str, list[Encoded]]] = {number: {name: [] for name in wanted} for number in images}
    crowds: dict[int, dict[str, list[Encoded]]] = {number: {} for number in images}
    for one in document["annotations"]:
        number, category = int(one["image_id"]), int(one["category_id"])
        if category not in names:
            raise ValueError(f"annotation {one.get('id')} is of class {category}, which is not there")
        name = names[category]
        if number not in images or name not in masks[number]:
            continue
        try:
            mask = encoded(one.get("segmentation"), sizes[number])
        except ValueError as error:
            raise ValueError(f"annotation {one.get('id')} of {images[number].name}: {error}") from None
        (crowds[number].setdefault(name, []) if one.get("iscrowd") else masks[number][name]).append(mask)
    return [Truth(image, masks[n], crowds[n], sizes[n]) for n, image in images.items()]


def unfit(truth: Truth, row: Mapping[str, Any]) -> str | None:
    """The reason why an image's answer cannot be compared with its truth. row: of `rows.LABELLED`."""
    if row["error"] is not None:
        return str(row["error"])
    height, width = row["height"], row["width"]
    if (height, width) != tuple(truth.size):
        return f"it has {width} x {height} pixels, and {truth.size.width} x {truth.size.height} in the ground truth"
    return None


def _twice(values: Any) -> str:
    return next(str(value) for value, count in Counter(values).items() if count > 1)


def _size(row: Mapping[str, Any]) -> ImageSize:
    height, width = row.get("height"), row.get("width")
    for side in (height, width):
        if isinstance(side, bool) or not isinstance(side, int) or not 1 <= side <= LARGEST:
            raise ValueError(f"image {row['id']} has no height and width in pixels")
    return ImageSize(int(height or 0), int(width or 0))


def encoded(segmentation: Any, size: ImageSize) -> Encoded:
    """A mask in COCO's compressed run-length encoding, of polygons or of runs. Raises ValueError."""
    if not segmentation:
        raise ValueError("it has no segmentation: boxes alone say nothing about masks")
    if isinstance(segmentation, list):
        made = coco.merge(coco.frPyObjects([_ring(ring, size) for ring in segmentation], *size))
    elif isinstance(segmentation, dict):
        made = _runs(segmentation, size)
    else:
        raise ValueError(f"its segmentation is {str(segmentation)[:40]!r}")
    return dict(made)


def _ring(ring: Any, size: ImageSize) -> list[float]:
    wrong = "a polygon is not a list x, y, x, y, ... of three corners at least"
    try:
        values = np.array(ring, dtype=np.float64)
    except (ValueError, TypeError):
        raise ValueError(wrong) from None
    if values.ndim != 1 or len(values) < 6 or len(values) % 2 or not np.isfinite(values).all():
        raise ValueError(wrong)
    if np.abs(values).max() > FAR * max(size) + max(size):
        raise ValueError(f"a polygon lies far outside of its image of {size.width} x {size.height} pixels")
    found: list[float] = values.tolist()
    return found


def _runs(runs: Mapping[str, Any], size: ImageSize) -> Encoded:
    if list(runs.get("size", [])) != list(size):
        raise ValueError(f"its runs are of the size {runs.get('size')}, the image is of {list(size)}")
    counts = runs.get("counts")
    whole = size.height * size.width
    if isinstance(counts, str):
        if (pixels := covered(counts)) != whole:
            raise ValueError(f"its runs are {pixels} pixels in all, the image has {whole}")
        return {"size": list(size), "counts": counts.encode("ascii")}
    if not isinstance(counts, list) or not all(type(one) is int and 0 <= one <= whole for one in counts):
        raise ValueError("its runs are no list of whole numbers")
    if sum(counts) != whole:
        raise ValueError(f"its runs are {sum(counts)} pixels in all, the image has {whole}")
    made: Encoded = coco.frPyObjects({"size": list(size), "counts": counts}, *size)
    return made
