from pathlib import Path

import numpy as np
import pytest

from serve_app.label.catalogue import Catalogue
from serve_app.label.choosing import Split
from serve_app.label.dataset import Dataset
from tests.support.labels import found, row, table

# pycocotools with numpy 2.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)


def files(folder: Path, names: dict[str, str], order: int = 1) -> dict[str, tuple[int, str]]:
    with Dataset.open(folder) as dataset:
        for location in list(names)[::order]:
            dataset.add(table(row(location, name=names[location])))
        return {image.location: (image.number, image.file) for image in Catalogue(dataset, [], Split())}


def test_names_and_numbers_do_not_depend_on_the_order_of_the_work(tmp_path: Path) -> None:
    names = {f"/{place}/x.png": "x.png" for place in "abc"}
    assert files(tmp_path / "1", names) == files(tmp_path / "2", names, -1)


def test_names_differ_without_their_endings_on_every_file_system(tmp_path: Path) -> None:
    names = {
        "/1/x.png": "x.png",
        "/2/X.JPG": "X.JPG",
        "/3/x.png": "x.png",
        "/4/x_2.png": "x_2.png",
        "/5/d/x.png": "d/x.png",
        "/6/up.png": "../up.png",
        "/7/root.png": "/root.png",
    }
    found_files = [file for _, file in files(tmp_path, names).values()]
    stems = [file.rpartition(".")[0].casefold() for file in found_files]
    assert len(set(stems)) == len(names)
    assert {"x.png", "x_2.png", "d/x.png", "up.png", "root.png"} <= set(found_files)
    assert all(not file.startswith("/") and ".." not in file for file in found_files)


def test_any_name_can_be_that_of_a_file_and_keeps_its_ending(tmp_path: Path) -> None:
    names = {
        "/1": "東" * 200 + ".jpg",
        "/2": "東" * 201 + ".jpg",
        "/3": "x" * 300 + "/" + "y." + "z" * 300,
        "/4": "nul\x00 and line\n.png",
    }
    found_files = [file for _, file in files(tmp_path / "set", names).values()]
    for file in found_files:
        for ending in (".json", ".txt", ""):
            path = tmp_path / (file.removesuffix(".jpg") + ending)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
    assert len({file.rpartition(".")[0] for file in found_files[:2]}) == 2
    assert [file[-4:] for file in found_files] == [".jpg", ".jpg", "zzzz", ".png"]


def test_an_image_has_its_objects_with_the_numbers_of_the_classes(tmp_path: Path) -> None:
    mask = np.zeros((8, 10), dtype=np.bool_)
    mask[2:5, 3:7] = True
    with Dataset.open(tmp_path) as dataset:
        dataset.add(table(row("/a.png", [found("dog", mask, 0.75)]), row("/b.png", error="broken")))
        (image,) = Catalogue(dataset, ["cat", "dog"], Split())
    (one,) = image.objects
    assert (one.name, one.number, one.score, one.box, one.area) == ("dog", 1, 0.75, (3, 2, 7, 5), 12)
    assert (one.mask().full() == mask).all()
    assert (image.size.height, image.size.width, image.number) == (8, 10, 1)


def test_an_image_keeps_its_split_when_others_of_its_name_come(tmp_path: Path) -> None:
    split = Split(val=0.5)
    with Dataset.open(tmp_path) as dataset:
        dataset.add(table(*(row(f"/b/{number}.png") for number in range(20))))
        before = {image.location: image.split for image in Catalogue(dataset, [], split)}
        dataset.add(table(*(row(f"/a/{number}.png") for number in range(20))))
        after = {image.location: image.split for image in Catalogue(dataset, [], split)}
    assert {*before.values()} == {"train", "val"}
    assert {location: after[location] for location in before} == before
