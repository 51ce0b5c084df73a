"""Pascal VOC: Annotations/, JPEGImages/ and ImageSets/Main/. Boxes only, in pixels that count from 1, ends included."""

from contextlib import ExitStack
from pathlib import Path
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

from serve_app.label.catalogue import Catalogue, LabelledImage
from serve_app.label.formats.pictures import put


def write_voc(catalogue: Catalogue, folder: Path) -> None:
    """An XML file for each image."""
    sets = folder / "ImageSets" / "Main"
    sets.mkdir(parents=True)
    with ExitStack() as stack:
        lists = {
            split: stack.enter_context((sets / f"{split}.txt").open("w", encoding="utf-8"))
            for split in catalogue.split.names
        }
        for image in catalogue:
            put(image, folder / "JPEGImages")
            path = folder / "Annotations" / f"{image.stem}.xml"
            path.parent.mkdir(parents=True, exist_ok=True)
            ElementTree(_annotation(image)).write(path, encoding="utf-8")
            lists[image.split].write(f"{image.stem}\n")


def _annotation(image: LabelledImage) -> Element:
    root = Element("annotation")
    _texts(root, folder="JPEGImages", filename=image.file)
    size = SubElement(root, "size")
    _texts(size, width=image.size.width, height=image.size.height, depth=3)
    _texts(root, segmented=0)
    for one in image.objects:
        found = SubElement(root, "object")
        _texts(found, name=one.name, pose="Unspecified", truncated=0, difficult=0)
        x0, y0, x1, y1 = map(int, one.box)
        _texts(SubElement(found, "bndbox"), xmin=x0 + 1, ymin=y0 + 1, xmax=x1, ymax=y1)
    indent(root)
    return root


def _texts(parent: Element, **texts: object) -> None:
    for name, text in texts.items():
        SubElement(parent, name).text = str(text)
