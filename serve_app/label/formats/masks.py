"""PNG masks of each image, at its size: the number of the class and of the object at each pixel.

semantic/: 0 where there is nothing, else the class's number from 1. instances/: 0, else the object's, from 1, highest
score first. Where objects overlap, the one of the higher score is on top. Files have 8 bits, or 16 where more than 255
numbers are needed.
"""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from serve_app.label.catalogue import Catalogue, LabelledImage


def write_masks(catalogue: Catalogue, folder: Path) -> None:
    """semantic/<split>/, instances/<split>/ and classes.json."""
    for image in catalogue:
        classes = _painted(image, [one.number + 1 for one in image.objects])
        objects = _painted(image, list(range(1, len(image.objects) + 1)))
        _save(classes, len(catalogue.classes), folder / "semantic" / image.split / f"{image.stem}.png")
        _save(objects, len(image.objects), folder / "instances" / image.split / f"{image.stem}.png")
    names = dict(enumerate(catalogue.classes, 1))
    (folder / "classes.json").write_text(
        json.dumps(names, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
    )


def _painted(image: LabelledImage, numbers: list[int]) -> npt.NDArray[np.uint16]:
    picture = np.zeros(image.size, dtype=np.uint16)
    for one, number in reversed(list(zip(image.objects, numbers, strict=True))):
        mask = one.mask()
        height, width = mask.crop.shape
        picture[mask.y0 : mask.y0 + height, mask.x0 : mask.x0 + width][mask.crop] = number
    return picture


def _save(picture: npt.NDArray[np.uint16], most: int, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture.astype(np.uint8) if most < 256 else picture).save(path)
