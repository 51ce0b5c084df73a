"""The truth about images: the masks that people have drawn, as a COCO file holds them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

from sam3_engine.rle import covered
from sam3_engine.types import ImageSize
from serve_app.label.coco_rows import number_of, rows_of, shown, text_of
from serve_app.label.lists import NoImages, SourceImage, coco_images

Encoded = dict[str, Any]
FAR = 2
"""So many sides of its image a corner may lie away from it."""
LARGEST = 65_535
"""Pixels of a side."""
IN_CROWD: Final = 0.5
"""Share of an object within a crowd from which it is one of the crowd's."""


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
    except ValueError as error:
        raise NoImages(f"{path}: {error}") from error


def _truths(
    document: Mapping[str, Any], images: Mapping[int, SourceImage], classes: Sequence[str] | None
) -> list[Truth]:
    rows = rows_of(document, "images")
    if not rows:
        raise ValueError("it has no image")
    numbers = [number_of(row, "id", "an image") for row in rows]
    if len(images) < len(rows):
        raise ValueError(f"two images have one id: {_twice(numbers)}")
    if len({image.location for image in images.values()}) < len(images):
        raise ValueError(f"two images are one file: {_twice(image.location for image in images.values())}")
    if any("text_input" in row for row in rows):
        raise ValueError("its images have phrases of their own (the format of SA-Co), which is not read here")
    names = _names(rows_of(document, "categories"))
    wanted = list(names.values()) if classes is None else list(classes)
    if not set(wanted) & set(names.values()):
        raise ValueError(f"it has none of the classes, but {', '.join(names.values())[:200] or 'no class'}")
    sizes = {number: _size(row, number) for number, row in zip(numbers, rows, strict=True)}
    masks: dict[int, dict[str, list[Encoded]]] = {number: {name: [] for name in wanted} for number in images}
    crowds: dict[int, dict[str, list[Encoded]]] = {number: {} for number in images}
    for place, one in enumerate(rows_of(document, "annotations"), 1):
        what = f"annotation {shown(one['id'])}" if "id" in one else f"the annotation at place {place}"
        number, category = number_of(one, "image_id", what), number_of(one, "category_id", what)
        if category not in names:
            raise ValueError(f"{what} is of class {category}, which is not there")
        name = names[category]
        if number not in images or name not in masks[number]:
            continue
        try:
            mask, crowd = encoded(one.get("segmentation"), sizes[number]), _is_crowd(one)
        except ValueError as error:
            raise ValueError(f"{what} of {images[number].name}: {error}") from None
        (crowds[number].setdefault(name, []) if crowd else masks[number][name]).append(mask)
    return [Truth(image, masks[n], crowds[n], sizes[n]) for n, image in images.items()]


def _names(categories: Sequence[Mapping[str, Any]]) -> dict[int, str]:
    numbers = [number_of(one, "id", "a class") for one in categories]
    names = [text_of(one, "name", f"class {number}") for number, one in zip(numbers, categories, strict=True)]
    if len(set(names)) < len(names):
        raise ValueError(f"two classes have one name: {_twice(names)}")
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"two classes have one id: {_twice(numbers)}")
    return dict(zip(numbers, names, strict=True))


def _is_crowd(annotation: Mapping[str, Any]) -> bool:
    value = annotation.get("iscrowd")
    if value not in (None, 0, 1):  # True and False are 1 and 0
        raise ValueError(f"its `iscrowd` is neither 0 nor 1 but {shown(value)}")
    return bool(value)


def overlaps(
    found: Sequence[Encoded], others: Sequence[Encoded], *, crowd: bool = False
) -> npt.NDArray[np.float64]:
    """The IoU of each pair of masks, [found, others]; with `crowd`, the share of the first that lies in the other."""
    if not found or not others:
        return np.zeros((len(found), len(others)))
    return np.array(coco.iou(list(found), list(others), [int(crowd)] * len(others)), dtype=np.float64)


def in_crowds(found: Sequence[Encoded], crowds: Sequence[Encoded]) -> npt.NDArray[np.bool_]:
    """Whether each mask, [found], is one of a crowd's objects. Where nothing else matches it, it does not count, as in
    COCO's own evaluation."""
    inside: npt.NDArray[np.bool_] = overlaps(found, crowds, crowd=True).max(axis=1, initial=0.0) >= IN_CROWD
    return inside


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


def _size(row: Mapping[str, Any], number: int) -> ImageSize:
    height, width = row.get("height"), row.get("width")
    for side in (height, width):
        if isinstance(side, bool) or not isinstance(side, int) or not 1 <= side <= LARGEST:
            raise ValueError(f"image {number} has no height and width in pixels")
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
        raise ValueError(f"its segmentation is no list of polygons and no runs but {shown(segmentation)}")
    return dict(made)


def _ring(ring: Any, size: ImageSize) -> list[float]:
    wrong = "a polygon is not a list x, y, x, y, ... of three corners at least"
    try:
        values = np.array(ring, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        raise ValueError(wrong) from None
    if values.ndim != 1 or len(values) < 6 or len(values) % 2 or not np.isfinite(values).all():
        raise ValueError(wrong)
    if np.abs(values).max() > FAR * max(size) + max(size):
        raise ValueError(f"a polygon lies far outside of its image of {size.width} x {size.height} pixels")
    found: list[float] = values.tolist()
    return found


def _runs(runs: Mapping[str, Any], size: ImageSize) -> Encoded:
    if runs.get("size") != list(size):
        raise ValueError(f"its runs are of the size {shown(runs.get('size'))}, the image is of {list(size)}")
    counts = runs.get("counts")
    whole = size.height * size.width
    if isinstance(counts, str):
        if not counts.isascii():
            raise ValueError("its runs are not ascii, so not a run-length encoding")
        if (pixels := covered(counts)) != whole:
            raise ValueError(f"its runs are {pixels} pixels in all, the image has {whole}")
        return {"size": list(size), "counts": counts.encode("ascii")}
    if not isinstance(counts, list) or not all(type(one) is int and 0 <= one <= whole for one in counts):
        raise ValueError("its runs are no list of whole numbers")
    if sum(counts) != whole:
        raise ValueError(f"its runs are {sum(counts)} pixels in all, the image has {whole}")
    made: Encoded = coco.frPyObjects({"size": list(size), "counts": counts}, *size)
    return made
