"""What a data set is written as. Each format is a function of the catalogue and of an empty folder, which it fills."""

import shutil
from collections.abc import Callable
from pathlib import Path

from serve_app.label.catalogue import Catalogue
from serve_app.label.formats.coco import write_coco, write_coco_polygons
from serve_app.label.formats.cvat import write_cvat
from serve_app.label.formats.label_studio import write_label_studio
from serve_app.label.formats.labelme import write_labelme
from serve_app.label.formats.masks import write_masks
from serve_app.label.formats.voc import write_voc
from serve_app.label.formats.yolo import write_yolo_boxes, write_yolo_outlines

FORMATS: dict[str, Callable[[Catalogue, Path], None]] = {
    "coco": write_coco,
    "coco-polygons": write_coco_polygons,
    "yolo-seg": write_yolo_outlines,
    "yolo-detect": write_yolo_boxes,
    "voc": write_voc,
    "labelme": write_labelme,
    "label-studio": write_label_studio,
    "cvat": write_cvat,
    "masks": write_masks,
}
"""By the names that the command's option has, and the folders of the data set."""


def export(catalogue: Catalogue, name: str, dataset: Path) -> Path:
    """Write a format into its folder of the data set, in place of an earlier one: whole or not at all. Returns the
    folder."""
    folder, made = dataset / name, dataset / f".{name}.writing"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    FORMATS[name](catalogue, made)
    shutil.rmtree(folder, ignore_errors=True)
    return made.rename(folder)
