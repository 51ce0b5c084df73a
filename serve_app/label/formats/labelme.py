"""LabelMe: each image with a JSON file beside it, in a folder for each split.

The parts of an object are polygons of one group. Holes are left out.
"""

import json
from pathlib import Path, PurePosixPath
from typing import Any

from serve_app.label.catalogue import Catalogue, LabelledImage
from serve_app.label.formats.outlines import outlines
from serve_app.label.formats.pictures import put


def write_labelme(catalogue: Catalogue, folder: Path) -> None:
    """A JSON file for each image."""
    for split in catalogue.split.names:
        (folder / split).mkdir()
    for image in catalogue:
        path = put(image, folder / image.split).parent / f"{PurePosixPath(image.file).stem}.json"
        path.write_text(json.dumps(_document(image), ensure_ascii=False), encoding="utf-8")


def _document(image: LabelledImage) -> dict[str, Any]:
    shapes: list[dict[str, Any]] = [
        {
            "label": one.name,
            "points": ring,
            "group_id": group,
            "description": f"{one.score:.3f}",
            "shape_type": "polygon",
            "flags": {},
            "mask": None,
        }
        for group, one in enumerate(image.objects, 1)
        for ring in outlines(one.mask())
    ]
    return {
        "version": "5.5.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": PurePosixPath(image.file).name,
        "imageData": None,
        "imageHeight": image.size.height,
        "imageWidth": image.size.width,
    }
