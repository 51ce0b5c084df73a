"""A small data set of drawn images, split in two."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from serve_app.label.catalogue import Catalogue
from serve_app.label.choosing import Split
from serve_app.label.dataset import Dataset
from tests.support.labels import found, row, shapes, table

CLASSES = ["hole", "parts", "pixel", "corner", "whole", 'say "grün": 1']


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    """Twelve images of 80 x 60; the even ones have an object of each class but the last, the others none."""
    objects = [found(name, mask, 0.9 - number / 10) for number, (name, mask) in enumerate(shapes().items())]
    photos = tmp_path / "photos"
    with Dataset.open(tmp_path / "set") as dataset:
        for number in range(12):
            path = photos / f"day {number % 3}" / f"{number:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (80, 60), (number, 0, 0)).save(path)
            name = str(path.relative_to(photos))
            mine = objects if number % 2 == 0 else []
            dataset.add(table(row(str(path), mine, name=name, size=(60, 80))))
        dataset.add(table(row("/gone.png", error="gone")))
        yield Catalogue(dataset, CLASSES, Split(val=0.4))
