"""Files that other tools read, made of a run's journal. Each is written line by line: no video is too long."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sam3_engine.draw import PALETTE
from sam3_engine.rle import from_rle
from serve_app.track.journal import Journal, Line


def write_coco(journal: Journal, path: Path) -> None:
    """COCO's JSON. Each frame is an image, "frame" its number from 0; "track_id" names an annotation's object, the same
    one in all frames. Masks are compressed RLE, boxes x, y, width, height."""
    labels = sorted({one["label"] for line in journal.lines() for one in line["objects"]})
    categories = {label: number for number, label in enumerate(labels, 1)}
    with path.open("w", encoding="utf-8") as file:
        file.write('{"categories":')
        json.dump([{"id": number, "name": label} for label, number in categories.items()], file)
        for name, rows in (("images", _images(journal)), ("annotations", _annotations(journal, categories))):
            file.write(f',\n"{name}":[')
            file.writelines(_separated(rows))
            file.write("]")
        file.write("}\n")


def _images(journal: Journal) -> Iterator[dict[str, Any]]:
    for line in journal.lines():
        height, width = line["size"]
        yield {
            "id": line["frame"] + 1,
            "file_name": f"{line['frame']:06d}",
            "frame": line["frame"],
            "seconds": line["seconds"],
            "height": height,
            "width": width,
        }


def _annotations(journal: Journal, categories: dict[str, int]) -> Iterator[dict[str, Any]]:
    number = 0
    for line in journal.lines():
        for one in line["objects"]:
            number += 1
            x0, y0, x1, y1 = one["box"]
            yield {
                "id": number,
                "image_id": line["frame"] + 1,
                "category_id": categories[one["label"]],
                "track_id": one["id"],
                "segmentation": one["rle"],
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": one["area"],
                "iscrowd": 0,
                "score": one["score"],
            }


def _separated(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    for number, row in enumerate(rows):
        yield (",\n" if number else "\n") + json.dumps(row, separators=(",", ":"))


def write_mot(journal: Journal, path: Path) -> None:
    """MOTChallenge's text: frame from 1, object, left, top, width, height, score, and three places of no meaning."""
    with path.open("w", encoding="utf-8") as file:
        for line in journal.lines():
            for one in line["objects"]:
                x0, y0, x1, y1 = (round(side) for side in one["box"])
                file.write(
                    f"{line['frame'] + 1},{one['id']},{x0},{y0},{x1 - x0},{y1 - y0},{one['score']},-1,-1,-1\n"
                )


def write_masks(journal: Journal, path: Path) -> None:
    """A folder with one PNG for each frame, as DAVIS has them: a pixel's value is its object's number, 0 for none.

    Where masks overlap, the smaller object is on top. With numbers up to 255 the PNGs have a palette, else 16 bits.
    """
    path.mkdir()
    wide = any(one["id"] > 255 for line in journal.lines() for one in line["objects"])
    for line in journal.lines():
        _numbers(line, wide).save(path / f"{line['frame']:06d}.png")


def _numbers(line: Line, wide: bool) -> Image.Image:
    canvas = np.zeros(line["size"], dtype=np.uint16 if wide else np.uint8)
    for one in sorted(line["objects"], key=lambda each: -each["area"]):
        canvas[from_rle(one["rle"])] = one["id"]
    image = Image.fromarray(canvas)
    if not wide:
        image = image.convert("P") if image.mode != "P" else image
        image.putpalette(
            [0, 0, 0, *(part for number in range(1, 256) for part in PALETTE[number % len(PALETTE)])]
        )
    return image


WRITERS: dict[str, tuple[str, Callable[[Journal, Path], None]]] = {
    "coco": (".json", write_coco),
    "mot": (".txt", write_mot),
    "masks": (".masks", write_masks),
}
"""What the film's name is given instead of its extension, and how the file is written."""
