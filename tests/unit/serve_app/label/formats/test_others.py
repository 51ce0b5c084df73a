import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import parse

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import supervision as sv
from PIL import Image
from pycocotools import mask as coco

from serve_app.cli import label_options
from serve_app.label.catalogue import Catalogue
from serve_app.label.choosing import Split
from serve_app.label.dataset import Dataset
from serve_app.label.formats import FORMATS, export
from tests.support.labels import row, shapes, table

# pycocotools with numpy 2.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)


def places(folder: Path) -> Iterator[Path]:
    """Folders that hold images or their links."""
    yield from sorted({path.parent for path in folder.rglob("*.png")})


def test_the_command_offers_every_format() -> None:
    assert tuple(FORMATS) == label_options.FORMATS


@pytest.mark.parametrize("kind", FORMATS)
def test_a_data_set_without_images_can_be_written(catalogue: Catalogue, tmp_path: Path, kind: str) -> None:
    with Dataset.open(tmp_path / "none") as dataset:
        empty = Catalogue(dataset, catalogue.classes, Split())
        assert export(empty, kind, tmp_path / "none").is_dir()


@pytest.mark.parametrize("kind", ["yolo-seg", "yolo-detect", "voc", "labelme"])
def test_a_data_set_with_copies_can_be_moved_without_its_photos(
    catalogue: Catalogue, tmp_path: Path, kind: str
) -> None:
    linked = export(catalogue, kind, tmp_path / "set")
    assert all(path.is_symlink() for path in linked.rglob("*.png"))
    copies = Catalogue(Dataset(tmp_path / "set"), catalogue.classes, catalogue.split, linked=False)
    moved = export(copies, kind, tmp_path / "set").rename(tmp_path / "moved")
    shutil.rmtree(tmp_path / "photos")
    files = [path for path in moved.rglob("*.png") if not path.is_symlink()]
    assert len(files) == 12
    for path in files:
        with Image.open(path) as image:
            assert image.size == (80, 60)


@pytest.mark.parametrize("kind", ["yolo-seg", "voc", "labelme", "label-studio"])
def test_images_of_a_parquet_file_become_files(catalogue: Catalogue, tmp_path: Path, kind: str) -> None:
    images = [path.read_bytes() for path in sorted((tmp_path / "photos").rglob("*.png"))]
    pq.write_table(pa.table({"image": images}), tmp_path / "rows.parquet")
    with Dataset.open(tmp_path / "rows") as dataset:
        for number in range(12):
            location = f"{tmp_path}/rows.parquet#{number:09d}"
            dataset.add(table(row(location, name=f"rows/{number}.png", size=(60, 80))))
        folder = export(Catalogue(dataset, catalogue.classes, Split()), kind, tmp_path / "rows")
    assert sorted(path.read_bytes() for path in folder.rglob("*.png")) == sorted(images)
    if kind == "label-studio":
        tasks = json.loads((folder / "tasks.json").read_text())
        assert all((folder / task["data"]["image"]).is_file() for task in tasks)


def test_supervision_reads_the_boxes_of_voc(catalogue: Catalogue, tmp_path: Path) -> None:
    folder = export(catalogue, "voc", tmp_path / "set")
    truth = shapes()
    objects = 0
    for place in places(folder / "JPEGImages"):
        annotations = folder / "Annotations" / place.relative_to(folder / "JPEGImages")
        read = sv.DetectionDataset.from_pascal_voc(str(place), str(annotations))
        for _, _, detections in read:
            assert detections.class_id is not None
            for box, number in zip(detections.xyxy, detections.class_id, strict=True):
                rows, columns = np.nonzero(truth[read.classes[number]])
                assert box.tolist() == [columns.min(), rows.min(), columns.max(), rows.max()]
                objects += 1
    assert objects == 30
    listed = [
        line
        for split in ("train", "val")
        for line in (folder / f"ImageSets/Main/{split}.txt").read_text().splitlines()
    ]
    assert sorted(listed) == sorted(image.stem for image in catalogue)


def test_supervision_reads_labelme(catalogue: Catalogue, tmp_path: Path) -> None:
    folder = export(catalogue, "labelme", tmp_path / "set")
    truth = shapes()
    objects = 0
    for place in places(folder):
        read = sv.DetectionDataset.from_labelme(str(place), str(place))
        for _, _, detections in read:
            assert detections.class_id is not None
            for box, number in zip(detections.xyxy, detections.class_id, strict=True):
                rows, columns = np.nonzero(truth[read.classes[number]])
                inside = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
                assert inside[0] <= box[0] < box[2] <= inside[2]
                objects += 1
    assert objects == 30  # the two parts of one are one, by their group


def test_label_studio_gets_a_task_for_each_image_in_percent(catalogue: Catalogue, tmp_path: Path) -> None:
    folder = export(catalogue, "label-studio", tmp_path)
    tasks = json.loads((folder / "tasks.json").read_text())
    assert sorted(task["data"]["image"] for task in tasks) == sorted(image.location for image in catalogue)
    labels = [label.get("value") for label in parse(folder / "config.xml").iter("Label")]
    assert labels == catalogue.classes
    for task in tasks:
        assert Path(task["data"]["image"]).exists()
        (prediction,) = task["predictions"]
        for shape in prediction["result"]:
            points = np.array(shape["value"]["points"])
            assert ((points >= 0) & (points <= 100)).all()
            assert len(points) >= 3
            assert (shape["original_width"], shape["original_height"]) == (80, 60)
            assert set(shape["value"]["polygonlabels"]) <= set(labels)
        assert len(prediction["result"]) in (0, 6)


def test_cvat_gets_the_names_of_the_files_that_are_sent_to_it(tmp_path: Path) -> None:
    with Dataset.open(tmp_path / "set") as dataset:
        dataset.add(table(*(row(f"/{name}", name=name) for name in ("a.jpg", "a.png"))))
        folder = export(Catalogue(dataset, ["cat"], Split(val=0)), "cvat", tmp_path / "set")
    root = parse(folder / "train" / "annotations.xml").getroot()
    assert [image.attrib["name"] for image in root.iter("image")] == ["a.jpg", "a.png"]


def test_cvat_gets_the_masks_as_they_were_found(catalogue: Catalogue, tmp_path: Path) -> None:
    folder = export(catalogue, "cvat", tmp_path)
    truth = shapes()
    objects = images = 0
    for split in ("train", "val"):
        root = parse(folder / split / "annotations.xml").getroot()
        assert [name.text for name in root.findall("meta/task/labels/label/name")] == catalogue.classes
        for image in root.iter("image"):
            images += 1
            for mask in image.iter("mask"):
                left, top, width, height = (
                    int(mask.attrib[name]) for name in ("left", "top", "width", "height")
                )
                counts = [int(length) for length in mask.attrib["rle"].split(",")]
                # CVAT's runs go along rows, COCO's along columns: of the transposed mask.
                turned = coco.frPyObjects({"size": [width, height], "counts": counts}, width, height)
                full = np.zeros((60, 80), dtype=bool)
                full[top : top + height, left : left + width] = coco.decode(turned).T
                assert (full == truth[mask.attrib["label"]]).all()
                objects += 1
    assert (images, objects) == (12, 30)


def test_masks_have_the_better_object_on_top(catalogue: Catalogue, tmp_path: Path) -> None:
    folder = export(catalogue, "masks", tmp_path)
    truth = shapes()
    for image in catalogue:
        classes = np.asarray(Image.open(folder / "semantic" / image.split / f"{image.stem}.png"))
        objects = np.asarray(Image.open(folder / "instances" / image.split / f"{image.stem}.png"))
        assert classes.dtype == np.uint8
        if image.objects:
            assert (objects == classes).all()  # here each class has one object, in the order of the scores
            assert (classes[truth["hole"]] == 1).all()
            assert (classes[truth["corner"] & ~truth["parts"]] == 4).all()
            assert (classes > 0).all()
        else:
            assert not classes.any()
