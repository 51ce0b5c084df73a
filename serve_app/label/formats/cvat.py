"""CVAT for images 1.1: annotations.xml for each split, with masks as they were found."""

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from serve_app.label.catalogue import Catalogue, LabelledImage, LabelledObject


def write_cvat(catalogue: Catalogue, folder: Path) -> None:
    """<split>/annotations.xml."""
    labels = "".join(f"<label><name>{escape(name)}</name></label>" for name in catalogue.classes)
    with ExitStack() as stack:
        files = {}
        for split in catalogue.split.names:
            (folder / split).mkdir()
            files[split] = stack.enter_context(
                (folder / split / "annotations.xml").open("w", encoding="utf-8")
            )
            files[split].write(
                '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n'
            )
            files[split].write(f"<meta><task><labels>{labels}</labels></task></meta>\n")
        for image in catalogue:
            files[image.split].writelines(_lines(image))
        for file in files.values():
            file.write("</annotations>\n")


def _lines(image: LabelledImage) -> Iterator[str]:
    height, width = image.size
    yield f'<image id="{image.number}" name={quoteattr(image.listed)} width="{width}" height="{height}">\n'
    yield from map(_mask, image.objects)
    yield "</image>\n"


def _mask(one: LabelledObject) -> str:
    x0, y0, x1, y1 = map(int, one.box)
    return (
        f'<mask label={quoteattr(one.name)} source="auto" occluded="0" rle="{rle(one)}" left="{x0}" top="{y0}" '
        f'width="{x1 - x0}" height="{y1 - y0}" z_order="0"></mask>\n'
    )


def rle(one: LabelledObject) -> str:
    """Lengths of runs along the rows of the box, the first one outside the mask."""
    flat = one.mask().crop.ravel()
    edges = np.flatnonzero(np.diff(flat, prepend=False))
    return ", ".join(map(str, np.diff(list(chain([0], edges, [len(flat)])))))
