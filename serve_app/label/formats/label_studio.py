"""Label Studio: tasks.json, to be imported with the labels as predictions, and config.xml, the project's interface.

A task names its image by location, which Label Studio must be able to read. An image that is part of a Parquet file is
written beside, in images/. Holes are left out.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from serve_app.label.catalogue import Catalogue, LabelledImage, LabelledObject
from serve_app.label.formats.outlines import outlines
from serve_app.label.formats.pictures import put
from serve_app.label.parquet import is_row


def write_label_studio(catalogue: Catalogue, folder: Path) -> None:
    """One file of all splits: `split` is in each task's data."""
    labels = "".join(f"    <Label value={quoteattr(name)}/>\n" for name in catalogue.classes)
    (folder / "config.xml").write_text(
        '<View>\n  <Image name="image" value="$image"/>\n'
        f'  <PolygonLabels name="label" toName="image">\n{labels}  </PolygonLabels>\n</View>\n',
        encoding="utf-8",
    )
    with (folder / "tasks.json").open("w", encoding="utf-8") as file:
        file.write("[")
        for number, image in enumerate(catalogue):
            location = image.location
            if is_row(location):
                location = put(image, folder / "images").relative_to(folder).as_posix()
            file.write((",\n" if number else "\n") + json.dumps(_task(image, location), ensure_ascii=False))
        file.write("\n]\n")


def _task(image: LabelledImage, location: str) -> dict[str, Any]:
    result = [shape for number, one in enumerate(image.objects) for shape in _shapes(image, one, number)]
    score = min((one.score for one in image.objects), default=0.0)
    return {
        "data": {"image": location, "name": image.file, "split": image.split},
        "predictions": [{"model_version": "sam3-serve label", "score": score, "result": result}],
    }


def _shapes(image: LabelledImage, one: LabelledObject, number: int) -> Iterator[dict[str, Any]]:
    """Points are in percent of the image's sides."""
    height, width = image.size
    for part, ring in enumerate(outlines(one.mask())):
        yield {
            "id": f"{number}-{part}",
            "type": "polygonlabels",
            "from_name": "label",
            "to_name": "image",
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": {
                "points": [[100 * x / width, 100 * y / height] for x, y in ring],
                "closed": True,
                "polygonlabels": [one.name],
            },
            "score": one.score,
        }
