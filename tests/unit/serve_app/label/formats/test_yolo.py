from pathlib import Path

import cv2
import numpy as np
import pytest
import supervision as sv
import yaml

from serve_app.label.catalogue import Catalogue, LabelledImage
from serve_app.label.choosing import Split
from serve_app.label.dataset import Dataset
from serve_app.label.formats import export
from serve_app.label.formats.yolo import outline
from tests.support.labels import row, shapes, table

# pycocotools with numpy 2.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)


def with_objects(catalogue: Catalogue) -> LabelledImage:
    return next(image for image in catalogue if image.objects)


@pytest.mark.parametrize("rounded", [np.round, np.trunc])
def test_one_outline_gives_the_mask_back_with_its_parts_and_holes(
    catalogue: Catalogue, rounded: np.ufunc
) -> None:
    """As the readers fill it: the coordinates cut off or rounded, and filled by cv2."""
    truth = shapes()
    for one in with_objects(catalogue).objects:
        line = " ".join(f"{value:.7g}" for value in outline(one).ravel())
        points = np.array(line.split(), dtype=np.float32).reshape(-1, 2) * np.array(
            [80, 60], dtype=np.float32
        )
        filled = np.zeros((60, 80), dtype=np.uint8)
        cv2.fillPoly(filled, [rounded(points).astype(np.int32)], 1)
        different = (filled.astype(bool) != truth[one.name]).sum()
        bridge = 40 if one.name in ("parts", "hole") else 0  # one pixel wide
        assert different <= bridge
        assert points.min() >= 0
        assert (points < [80, 60]).all()


def test_data_yaml_names_the_splits_and_the_classes(catalogue: Catalogue, tmp_path: Path) -> None:
    folder = export(catalogue, "yolo-seg", tmp_path)
    data = yaml.safe_load((folder / "data.yaml").read_text())
    assert data == {
        "train": "images/train",
        "val": "images/val",
        "nc": 6,
        "names": dict(enumerate(catalogue.classes)),
    }


def test_data_yaml_keeps_the_names_of_classes(tmp_path: Path) -> None:
    names = ["\U0001f469\u200d\U0001f692", "yes", "12", "a: 'b' # c", 'say "no\\yes"', "میز\u200cها"]
    with Dataset.open(tmp_path / "set") as dataset:
        folder = export(Catalogue(dataset, names, Split()), "yolo-seg", tmp_path / "set")
    data = yaml.safe_load((folder / "data.yaml").read_text(encoding="utf-8"))
    assert list(data["names"].values()) == names


def test_ultralytics_finds_the_labels_whatever_the_folders_of_the_photos_are_called(tmp_path: Path) -> None:
    names = ["images/a.jpg", "images_/a.jpg", "x/images/y/b.JFIF", "labels/c.jpe", "d.png"]
    with Dataset.open(tmp_path / "set") as dataset:
        dataset.add(table(*(row(f"/photos/{name}", name=name) for name in names)))
        folder = export(Catalogue(dataset, ["cat"], Split(val=0)), "yolo-seg", tmp_path / "set")
    known = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".mpo", ".avif"}
    images = [str(path) for path in (folder / "images").rglob("*") if path.suffix.lower() in known]
    assert len(images) == len(names)
    # `img2label_paths` of ultralytics
    labels = ["/labels/".join(path.rsplit("/images/", 1)).rsplit(".", 1)[0] + ".txt" for path in images]
    assert {Path(label) for label in labels} == {*(folder / "labels").rglob("*.txt")}


def test_every_image_lies_beside_its_labels(catalogue: Catalogue, tmp_path: Path) -> None:
    folder = export(catalogue, "yolo-detect", tmp_path / "set")
    images = {path.relative_to(folder / "images") for path in (folder / "images").rglob("*.png")}
    labels = {path.relative_to(folder / "labels") for path in (folder / "labels").rglob("*.txt")}
    assert {path.with_suffix("") for path in images} == {path.with_suffix("") for path in labels}
    assert len(images) == 12
    for image in images:
        assert cv2.imread(str(folder / "images" / image)) is not None


@pytest.mark.parametrize("kind", ["yolo-seg", "yolo-detect"])
def test_supervision_reads_it(catalogue: Catalogue, tmp_path: Path, kind: str) -> None:
    folder = export(catalogue, kind, tmp_path / "set")
    truth = shapes()
    images = objects = 0
    for split in ("train", "val"):
        for place in sorted((folder / "images" / split).iterdir()):
            read = sv.DetectionDataset.from_yolo(
                str(place),
                str(folder / "labels" / split / place.name),
                str(folder / "data.yaml"),
                force_masks=kind == "yolo-seg",
            )
            assert read.classes == catalogue.classes
            for _, _, detections in read:
                images += 1
                assert detections.class_id is not None
                for box, number in zip(detections.xyxy, detections.class_id, strict=True):
                    rows, columns = np.nonzero(truth[read.classes[number]])
                    expected = [columns.min(), rows.min(), columns.max(), rows.max()]
                    assert np.abs(box - expected).max() < 1.001  # ends included or not
                    objects += 1
    assert (images, objects) == (12, 30)
