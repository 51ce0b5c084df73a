"""COCO files: read by pycocotools, joined over images, as polygons or run lengths, with names for clicked objects."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as masks
from pycocotools.coco import COCO

from tests.e2e.playground.test_errors import expected
from tests.support.browser import Playground
from tests.support.fake_segmenter import FakeSegmenter
from tests.support.scenes import HEIGHT, SHAPES, WIDTH, box_iou, encoded, ring, scene

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)  # pycocotools 2.0


WHOLE_ROW = "Save all images as one COCO file"
SQUARE_TURNED = (102, 58)
"""A pixel of the blue square in the scene that was turned by 90 degrees."""


def saved(playground: Playground, folder: Path) -> Any:
    return json.loads(playground.saved("COCO JSON", folder).read_text())


@pytest.mark.parametrize(("segmentation", "least"), [("polygons", 0.98), ("rle", 1.0)])
def test_coco_is_read_by_pycocotools(
    playground: Playground, tmp_path: Path, segmentation: str, least: float
) -> None:
    playground.load()
    playground.find("red circle, blue square")
    playground.page.select_option("#segmentation", segmentation)
    path = playground.saved("COCO JSON", tmp_path)
    assert path.name == "scene_coco.json"
    coco = COCO(path)
    assert [one["name"] for one in coco.loadCats(coco.getCatIds())] == ["red circle", "blue square"]
    (image,) = coco.loadImgs(coco.getImgIds())
    assert (image["file_name"], image["width"], image["height"]) == ("scene.png", WIDTH, HEIGHT)
    annotations = coco.loadAnns(coco.getAnnIds())
    assert [one["category_id"] for one in annotations] == [1, 1, 2]
    for annotation, truth in zip(annotations, ("red circle", "red circle too", "blue square"), strict=True):
        assert isinstance(annotation["segmentation"], list if segmentation == "polygons" else dict)
        assert annotation["iscrowd"] == 0
        x, y, width, height = annotation["bbox"]
        assert box_iou((x, y, x + width, y + height), SHAPES[truth]) > 0.95
        mask = coco.annToMask(annotation)
        assert mask.shape == (HEIGHT, WIDTH)
        assert int(mask.sum()) == pytest.approx(annotation["area"], rel=1.001 - least)
        assert 0.5 < annotation["score"] <= 1


def test_a_hole_stays_a_hole_in_polygons(playground: Playground, tmp_path: Path) -> None:
    playground.load(encoded(ring()), "ring.png")
    playground.find("red")
    path = playground.saved("COCO JSON", tmp_path)
    coco = COCO(path)
    (annotation,) = coco.loadAnns(coco.getAnnIds())
    mask = coco.annToMask(annotation)
    assert mask[80, 60] == 1
    assert mask[80, 100] == 0
    assert len(annotation["segmentation"]) > 1, "cut through the hole"
    assert int(mask.sum()) == pytest.approx(annotation["area"], rel=0.02)


def test_files_of_several_images_can_be_joined(playground: Playground, tmp_path: Path) -> None:
    """List by list: a class has one id, and no two images or annotations have the same."""
    playground.load()
    playground.find("red circle, blue square")
    first = saved(playground, tmp_path)
    playground.load(encoded(scene().rotate(90)), "turned.png")
    for name in ("Remove red circle", "Remove blue square"):
        playground.page.get_by_role("button", name=name).click()
    playground.find("blue square, red circle")
    playground.reload()
    second = saved(playground, tmp_path)
    assert first["categories"] == second["categories"]
    whole = {key: first[key] + second[key] for key in ("images", "annotations")}
    path = tmp_path / "whole.json"
    path.write_text(json.dumps({**whole, "categories": second["categories"]}))
    coco = COCO(path)
    assert len(coco.getImgIds()) == 2
    assert len(coco.getAnnIds()) == len(whole["annotations"]) == 6
    names = {one["id"]: one["name"] for one in coco.loadCats(coco.getCatIds())}
    shown = [names[one["category_id"]] for one in coco.loadAnns([one["id"] for one in second["annotations"]])]
    assert sorted(shown) == ["blue square", "red circle", "red circle"]


def test_one_file_of_all_images_of_the_row(
    playground: Playground, fake: FakeSegmenter, tmp_path: Path
) -> None:
    """After a reload too; with names, deletions and hidden prompts; without the images that nothing was asked on."""
    playground.load_all(
        {"a.png": encoded(scene()), "b.png": encoded(ring()), "c.png": encoded(scene().rotate(90))}
    )
    playground.find("red circle, blue square")
    playground.page.get_by_role("button", name="Delete red circle 1").click()
    playground.settle()
    playground.page.locator("#row-images button").last.click()
    playground.settle()
    assert playground.shown_image() == "c.png"
    playground.page.get_by_role("button", name="Hide red circle", exact=True).click()
    playground.settle()
    playground.keys("n")
    playground.click(*SQUARE_TURNED)
    playground.page.get_by_label("Class of Object 1").fill("tile")
    playground.page.keyboard.press("Enter")
    playground.settle()
    one = saved(playground, tmp_path)
    playground.reload()
    path = playground.saved(WHOLE_ROW, tmp_path)
    assert path.name == "images_coco.json"
    coco = COCO(path)
    images = coco.loadImgs(coco.getImgIds())
    assert [image["file_name"] for image in images] == ["a.png", "c.png"]
    assert [(image["width"], image["height"]) for image in images] == [(WIDTH, HEIGHT)] * 2
    names = {each["id"]: each["name"] for each in coco.loadCats(coco.getCatIds())}
    found = [
        sorted(names[each["category_id"]] for each in coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]])))
        for image in images
    ]
    assert found == [["blue square", "red circle"], ["blue square", "tile"]]
    whole = json.loads(path.read_text())
    assert [each for each in whole["annotations"] if each["image_id"] == images[1]["id"]] == one[
        "annotations"
    ]
    playground.wait_for_notice("Saved 2 images with 4 instances. 1 image without prompts was left out.")


def test_nothing_is_saved_when_one_image_of_the_row_fails(
    playground: Playground, fake: FakeSegmenter, tmp_path: Path
) -> None:
    playground.load_all({"a.png": encoded(scene()), "b.png": encoded(ring())})
    playground.page.get_by_role("button", name=WHOLE_ROW).click()
    playground.wait_for_notice("Nothing was asked on these images yet")
    playground.find("red circle")
    playground.keys("Escape", "]")
    fake.error, fake.failures = RuntimeError(), 1
    playground.page.get_by_role("button", name=WHOLE_ROW).click()
    playground.wait_for_notice("Nothing was saved. a.png: Internal error.")
    expected(playground)
    with playground.page.expect_download():
        playground.page.get_by_role("button", name="Try again").click()


def test_clicked_objects_are_named(playground: Playground, tmp_path: Path) -> None:
    playground.load()
    playground.click(230, 70)
    playground.page.get_by_label("Class of Object 1").fill(" tile ")
    playground.page.keyboard.press("Enter")
    playground.keys("n")
    playground.click(70, 80)
    document = saved(playground, tmp_path)
    names = {one["id"]: one["name"] for one in document["categories"]}
    assert [names[one["category_id"]] for one in document["annotations"]] == ["tile", "object"]
    playground.reload()
    assert playground.page.get_by_label("Class of Object 1").input_value() == "tile"
    playground.keys("Control+z", "Control+z")
    assert playground.page.get_by_label("Class of Object 1").input_value() == "", "naming is a step"


def test_names_in_another_case_are_one_class_and_one_concept(playground: Playground, tmp_path: Path) -> None:
    playground.load()
    playground.find("red circle, Red  Circle")
    playground.find("RED CIRCLE")
    assert playground.prompts() == {"red circle": 2}
    playground.keys("Escape", "n")
    playground.click(70, 80)
    playground.page.get_by_label("Class of Object 1").fill("Red Circle")
    playground.page.keyboard.press("Enter")
    document = saved(playground, tmp_path)
    assert [one["name"] for one in document["categories"]] == ["red circle"]
    assert {one["category_id"] for one in document["annotations"]} == {1}


def test_the_list_of_classes_decides_the_ids(playground: Playground, tmp_path: Path) -> None:
    playground.page.click("#classes")
    playground.page.fill("#classes-input", "person\nblue square\n\nPerson\n")
    playground.page.get_by_role("button", name="Keep", exact=True).click()
    playground.load()
    playground.find("red circle, blue square")
    document = saved(playground, tmp_path)
    assert {one["name"]: one["id"] for one in document["categories"]} == {
        "person": 1,
        "blue square": 2,
        "red circle": 3,
    }
    assert [one["category_id"] for one in document["annotations"]] == [3, 3, 2]


def test_duplicates_are_left_out_by_choice(playground: Playground, tmp_path: Path) -> None:
    playground.load()
    playground.find("red circle, red, circle")  # the stand-in finds the same circles by each of the first two
    assert len(saved(playground, tmp_path)["annotations"]) == 4
    playground.page.check("#distinct")
    playground.settle()
    assert playground.instances() == ["red circle 1", "red circle 2"]
    assert len(saved(playground, tmp_path)["annotations"]) == 2
    playground.tab("Code")
    assert '"nms_iou_threshold":0.5' in playground.page.locator("#code").inner_text()
    playground.reload()
    assert playground.page.is_checked("#distinct")
    playground.page.uncheck("#distinct")
    playground.settle()
    assert len(playground.instances()) == 4


def test_polygons_cover_what_the_masks_do(playground: Playground) -> None:
    """Also masks of one pixel, thin ones, speckles and rings in rings."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:200, :240]
    distance = np.hypot(x - 120, y - 100)
    single = np.zeros((9, 9), dtype=bool)
    single[4, 4] = True
    shapes = {
        "one pixel": (single, 1.0),
        "a line": (np.eye(30, dtype=bool), 0.3),
        "a row": (np.pad(np.ones((1, 20), dtype=bool), 3), 1.0),
        "a disc": (distance < 70, 0.99),
        "rings in rings": ((distance < 90) & ~((distance > 30) & (distance < 60)), 0.97),
        "speckles": (rng.random((24, 24)) < 0.5, 0.4),
        "all": (np.ones((5, 7), dtype=bool), 1.0),
        "none": (np.zeros((5, 7), dtype=bool), 1.0),
    }
    encodings = []
    for shape, _ in shapes.values():
        rle = masks.encode(np.asfortranarray(shape.astype(np.uint8)))
        encodings.append({"size": list(shape.shape), "counts": rle["counts"].decode()})
    found = playground.module(
        "polygons.js",
        """async ({ polygonsOf }, all) => {
            const { Mask } = await import(document.documentElement.dataset.assets + "/mask.js");
            return all.map((rle) => polygonsOf(new Mask(rle)));
        }""",
        encodings,
    )
    for (name, (shape, least)), polygons in zip(shapes.items(), found, strict=True):
        assert all(len(polygon) >= 6 and len(polygon) % 2 == 0 for polygon in polygons), name
        if not shape.any():
            assert polygons == []
            continue
        drawn = masks.decode(masks.merge(masks.frPyObjects(polygons, *shape.shape))).astype(bool)
        iou = (drawn & shape).sum() / (drawn | shape).sum()
        assert iou >= least, (name, iou)
