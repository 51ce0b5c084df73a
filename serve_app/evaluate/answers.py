"""Gets a model's objects on images: from the engine in this process, or from a running server."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa

from sam3_engine.spec import SPECS
from serve_app.label.classes import LabelClass
from serve_app.label.labeller import LabelImages, ModelChoice
from serve_app.label.labelling import Labelling
from serve_app.label.lists import SourceImage
from serve_app.label.objects import FindObjects, Rules
from serve_app.label.reading import ReadImages
from serve_app.label.rows import TO_READ
from serve_app.label.service import Service

BATCH = 4
"""Images that the model gets at once."""
EVERYTHING = Rules(nms=None)
"""Each class is judged on its own: no object gives way to one of another class."""


def local(
    images: Sequence[SourceImage], classes: Sequence[LabelClass], choice: ModelChoice, max_pixels: int
) -> Iterator[dict[str, Any]]:
    """Rows of `rows.LABELLED`, in the order of the images. Raises CheckpointError, and ValueError for a device that is
    not there."""
    label, find = LabelImages(classes, choice), FindObjects(classes, EVERYTHING)
    read = ReadImages(SPECS[choice.model.removesuffix("-random")].image_size, max_pixels)
    batches = [images[start : start + BATCH] for start in range(0, len(images), BATCH)]
    with ThreadPoolExecutor(1) as pool:  # reads the next batch while the model works on this one
        ahead = pool.submit(read, _table(batches[0]))
        for following in [*batches[1:], []]:
            table, ahead = ahead.result(), pool.submit(read, _table(following))
            yield from find(label(table)).to_pylist()


def _table(images: Sequence[SourceImage]) -> pa.Table:
    return pa.Table.from_pylist(
        [{"location": image.location, "name": image.name} for image in images], schema=TO_READ
    )


def served(
    images: Sequence[SourceImage], classes: Sequence[LabelClass], service: Service
) -> Iterator[dict[str, Any]]:
    """The same from a server, in any order. Raises ServiceLost."""
    for table in service.label(images, Labelling(classes, ModelChoice("service"), EVERYTHING)):
        yield from table.to_pylist()
