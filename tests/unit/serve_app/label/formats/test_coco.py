import json
from pathlib import Path

import numpy as np
import pytest
import supervision as sv
from pycocotools.coco import COCO

from serve_app.label.catalogue import Catalogue
from serve_app.label.choosing import Split
from serve_app.label.dataset import Dataset
from serve_app.label.formats import export
from serve_app.label.sources import list_images
from tests.support.labels import row, shapes, table

# pycocotools with numpy 2.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)


def loaded(catalogue: Catalogue, tmp_path: Path, kind: str = "coco") -> dict[str, COCO]:
    folder = export(catalogue, kind, tmp_path)
    return {split: COCO(folder / "annotations" / f"instances_{split}.json") for split in ("train", "val")}


def test_pycocotools_reads_the_masks_as_they_were_found(catalogue: Catalogue, tmp_path: Path) -> None:
    read = loaded(catalogue, tmp_path)
    truth = shapes()
    seen = 0
    for one in read.values():
        for annotation in one.loadAnns(one.getAnnIds()):
            (category,) = one.loadCats(annotation["category_id"])
            mask = truth[category["name"]]
            rows, columns = np.nonzero(mask)
            assert (one.annToMask(annotation) == mask).all()
            assert annotation["area"] == mask.sum()
            assert annotation["iscrowd"] == 0
            x, y, width, height = annotation["bbox"]
            assert (x, y, x + width, y + height) == (
                columns.min(),
                rows.min(),
                columns.max() + 1,
                rows.max() + 1,
            )
            seen += 1
    assert seen == 6 * 5


def test_every_image_is_in_one_split_with_or_without_objects(catalogue: Catalogue, tmp_path: Path) -> None:
    read = loaded(catalogue, tmp_path)
    files = [image["file_name"] for one in read.values() for image in one.loadImgs(one.getImgIds())]
    assert sorted(files) == [
        f"day {number % 3}/{number:02d}.png" for number in (0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11)
    ]
    ids = [number for one in read.values() for number in one.getImgIds()]
    assert sorted(ids) == list(range(1, 13))
    assert all(one.getImgIds() for one in read.values())
    annotations = [number for one in read.values() for number in one.getAnnIds()]
    assert len(set(annotations)) == len(annotations)


def test_images_that_differ_by_their_endings_keep_the_names_of_their_files(tmp_path: Path) -> None:
    names = {"/1": "x/a.jpg", "/2": "x/a.png", "/3": "x/A.png", "/4": "b.jpg", "/5": "b.jpg"}
    with Dataset.open(tmp_path / "set") as dataset:
        dataset.add(table(*(row(location, name=name) for location, name in names.items())))
        folder = export(Catalogue(dataset, ["cat"], Split(val=0)), "coco", tmp_path / "set")
    images = json.loads((folder / "annotations" / "instances_train.json").read_text())["images"]
    assert [image["file_name"] for image in images] == ["x/a.jpg", "x/a.png", "x/A.png", "b.jpg", "b_2.jpg"]


def test_the_file_of_images_on_the_web_can_be_labelled_again(tmp_path: Path) -> None:
    urls = ["https://a.example/x/1.jpg?size=2", "s3://bucket/x/1.jpg"]
    with Dataset.open(tmp_path / "set") as dataset:
        dataset.add(table(*(row(url, name="x/1.jpg") for url in urls)))
        folder = export(Catalogue(dataset, ["cat"], Split(val=0)), "coco", tmp_path / "set")
    again = list_images([str(folder / "annotations" / "instances_train.json")])
    assert [image.location for image in again.images] == urls


def test_categories_have_the_order_of_the_classes_in_every_split(
    catalogue: Catalogue, tmp_path: Path
) -> None:
    for one in loaded(catalogue, tmp_path).values():
        categories = one.loadCats(one.getCatIds())
        assert [category["id"] for category in categories] == [1, 2, 3, 4, 5, 6]
        assert [category["name"] for category in categories] == catalogue.classes


def test_outlines_are_polygons_that_pycocotools_fills(catalogue: Catalogue, tmp_path: Path) -> None:
    truth = shapes()
    for one in loaded(catalogue, tmp_path, "coco-polygons").values():
        for annotation in one.loadAnns(one.getAnnIds()):
            (category,) = one.loadCats(annotation["category_id"])
            name = category["name"]
            assert isinstance(annotation["segmentation"], list)
            assert all(len(ring) >= 6 for ring in annotation["segmentation"])
            if name != "hole":
                assert (one.annToMask(annotation).astype(bool) == truth[name]).all()


def test_scores_are_kept_highest_first(catalogue: Catalogue, tmp_path: Path) -> None:
    folder = export(catalogue, "coco", tmp_path)
    read = json.loads((folder / "annotations" / "instances_train.json").read_text())
    scores = [one["score"] for one in read["annotations"]]
    assert scores[:5] == [0.9, 0.8, 0.7, 0.6, 0.5]


def test_supervision_reads_it(catalogue: Catalogue, tmp_path: Path) -> None:
    folder = export(catalogue, "coco", tmp_path / "set")
    read = sv.DetectionDataset.from_coco(
        str(tmp_path / "photos"), str(folder / "annotations" / "instances_train.json"), force_masks=True
    )
    assert read.classes == catalogue.classes
    assert all(len(detections) in (0, 5) for _, _, detections in read)


def test_an_export_takes_the_place_of_the_one_before(catalogue: Catalogue, tmp_path: Path) -> None:
    folder = export(catalogue, "coco", tmp_path)
    (folder / "annotations" / "instances_old.json").write_text("{}")
    export(catalogue, "coco", tmp_path)
    assert sorted(path.name for path in (folder / "annotations").iterdir()) == [
        "instances_train.json",
        "instances_val.json",
    ]
    assert not list(tmp_path.glob(".coco*"))
