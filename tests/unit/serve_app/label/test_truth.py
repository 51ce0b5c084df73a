"""The truth of a COCO file: polygons and runs give the same pixels, and each error in a file is named."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco

from serve_app.label.lists import NoImages
from serve_app.label.truth import read_truth

# pycocotools with numpy 2.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)
HEIGHT, WIDTH = 20, 30
SQUARE = [2, 3, 12, 3, 12, 13, 2, 13]
IMAGES = [{"id": 7, "file_name": "sub/a.png", "height": HEIGHT, "width": WIDTH}]
CATEGORIES = [{"id": 3, "name": "cat"}, {"id": 5, "name": "cow"}]


def pixels() -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    mask[3:13, 2:12] = 1
    return mask


def compressed() -> dict[str, Any]:
    made = coco.encode(np.asfortranarray(pixels()))
    return {"size": [HEIGHT, WIDTH], "counts": made["counts"].decode()}


def uncompressed() -> dict[str, Any]:
    flat = pixels().flatten(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    return {"size": [HEIGHT, WIDTH], "counts": np.diff([0, *edges.tolist(), flat.size]).tolist()}


def of_image(height: int, width: int) -> str:
    """The runs of another image."""
    text: str = coco.encode(np.ones((height, width), dtype=np.uint8, order="F"))["counts"].decode()
    return text


def annotation(segmentation: Any, **more: Any) -> dict[str, Any]:
    return {"id": 11, "image_id": 7, "category_id": 3, "segmentation": segmentation, "iscrowd": 0, **more}


def written(folder: Path, marked: list[Any], **changed: Any) -> Path:
    document = {"images": IMAGES, "categories": CATEGORIES, "annotations": marked, **changed}
    path = folder / "truth.json"
    path.write_text(json.dumps(document))
    return path


@pytest.mark.parametrize("segmentation", [[SQUARE], compressed(), uncompressed()])
def test_polygons_and_runs_of_both_kinds_are_the_same_pixels(tmp_path: Path, segmentation: Any) -> None:
    (truth,) = read_truth(written(tmp_path, [annotation(segmentation)]))
    assert truth.image.location == str(tmp_path / "sub" / "a.png")
    assert tuple(truth.size) == (HEIGHT, WIDTH)
    assert (coco.decode(truth.masks["cat"][0]) == pixels()).all()
    assert truth.masks["cow"] == []


def test_an_object_of_two_polygons_is_one_mask(tmp_path: Path) -> None:
    parts = [[0, 0, 4, 0, 4, 4, 0, 4], [10, 10, 14, 10, 14, 14, 10, 14]]
    (truth,) = read_truth(written(tmp_path, [annotation(parts)]))
    assert coco.area(truth.masks["cat"][0]) == 32


def test_a_crowd_is_no_object(tmp_path: Path) -> None:
    (truth,) = read_truth(written(tmp_path, [annotation(uncompressed(), iscrowd=1)]))
    assert truth.masks["cat"] == []
    assert len(truth.crowds["cat"]) == 1


def test_annotations_of_images_that_are_not_listed_are_left_out(tmp_path: Path) -> None:
    (truth,) = read_truth(written(tmp_path, [annotation([SQUARE], image_id=8)]))
    assert truth.masks["cat"] == []


@pytest.mark.parametrize(
    ("segmentation", "what"),
    [
        (None, "no segmentation"),
        ([], "no segmentation"),
        ([[]], "three corners"),
        ([[1, 2, 3, 4]], "three corners"),
        ([[1, 2, 3, 4, 5, 6, 7]], "three corners"),
        ([[1, 2, "x", 4, 5, 6]], "three corners"),
        ([1, 2, 3, 4, 5, 6], "three corners"),
        ([[1, 2, float("nan"), 4, 5, 6]], "three corners"),
        ([[1e9, 2, 3, 4, 5, 6]], "far outside"),
        ({"size": [HEIGHT, WIDTH], "counts": [5]}, "are 5 pixels in all, the image has 600"),
        ({"size": [HEIGHT, WIDTH], "counts": [-5, 605]}, "no list of whole numbers"),
        ({"size": [HEIGHT, WIDTH]}, "no list of whole numbers"),
        ({"size": [WIDTH, HEIGHT], "counts": [600]}, "of the size"),
        (
            {"size": [HEIGHT, WIDTH], "counts": of_image(100, 100)},
            "are 10000 pixels in all, the image has 600",
        ),
        ({"size": [HEIGHT, WIDTH], "counts": of_image(5, 5)}, "are 25 pixels in all, the image has 600"),
        ({"size": [HEIGHT, WIDTH], "counts": "\u00e9"}, "ascii"),
        ({"size": [HEIGHT, WIDTH], "counts": "~~"}, "not a run-length encoding"),
        ("a mask", 'no runs but "a mask"'),
        (3, "no runs but 3"),
        ([[10**400, 2, 3, 4, 5, 6]], "three corners"),
        ({"size": 3, "counts": [600]}, "of the size 3"),
        ({"counts": [600]}, "of the size null"),
        ({"size": [HEIGHT, WIDTH], "counts": {}}, "no list of whole numbers"),
    ],
)
def test_a_wrong_mask_is_named_with_its_annotation(tmp_path: Path, segmentation: Any, what: str) -> None:
    with pytest.raises(NoImages, match=rf"truth\.json: annotation 11 of sub/a\.png: .*{what}"):
        read_truth(written(tmp_path, [annotation(segmentation)]))


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"images": []}, "no image"),
        ({"images": IMAGES * 2}, "two images have one id: 7"),
        ({"images": [*IMAGES, {**IMAGES[0], "id": 8}]}, "two images are one file: .*a.png"),
        ({"images": [{"id": 7, "file_name": "a.png"}]}, "image 7 has no height and width"),
        ({"images": [{**IMAGES[0], "height": -1}]}, "image 7 has no height and width"),
        ({"images": [{**IMAGES[0], "text_input": "a cat"}]}, "SA-Co"),
        ({"images": [{"id": 7, "height": 3, "width": 3}]}, "is no COCO file: image 7: a row has none of"),
        ({"images": {}}, "whose `images` is a list"),
        ({"images": ["a.png"]}, 'the 1st of its `images` is no object but "a.png"'),
        ({"images": [IMAGES[0], 3]}, "the 2nd of its `images` is no object but 3"),
        (
            {"images": [{**IMAGES[0], "id": float("inf")}]},
            "an image has no whole number as `id` but Infinity",
        ),
        ({"images": [{**IMAGES[0], "id": float("nan")}]}, "an image has no whole number as `id` but NaN"),
        ({"images": [{**IMAGES[0], "id": 7.5}]}, "an image has no whole number as `id` but 7.5"),
        ({"images": [{**IMAGES[0], "id": None}]}, "an image has no whole number as `id` but null"),
        ({"images": [{**IMAGES[0], "id": True}]}, "an image has no whole number as `id` but true"),
        ({"images": [{**IMAGES[0], "id": [7]}]}, r"an image has no whole number as `id` but \[7\]"),
        ({"images": [{"file_name": "a.png"}]}, "an image has no whole number as `id`$"),
        ({"images": [{**IMAGES[0], "height": float("inf")}]}, "image 7 has no height and width"),
        ({"categories": {}}, "whose `categories` is a list"),
        ({"categories": [3]}, "the 1st of its `categories` is no object but 3"),
        ({"categories": [{"id": float("inf"), "name": "cat"}]}, "a class has no whole number as `id`"),
        ({"categories": [{"id": 3, "name": None}]}, "class 3 has no text as `name` but null"),
        ({"categories": [{"id": 3}]}, "class 3 has no text as `name`$"),
        ({"categories": [*CATEGORIES, {"id": 3, "name": "cob"}]}, "two classes have one id: 3"),
        ({"annotations": {}}, "whose `annotations` is a list"),
        ({"annotations": {"1": annotation([SQUARE])}}, "whose `annotations` is a list"),
        ({"annotations": "none"}, "whose `annotations` is a list"),
        ({"annotations": [{}]}, "the annotation at place 1 has no whole number as `image_id`"),
        ({"annotations": [annotation([SQUARE], image_id=float("inf"))]}, "annotation 11 has no whole number"),
        ({"annotations": [annotation([SQUARE], category_id="cat")]}, 'as `category_id` but "cat"'),
        ({"annotations": [annotation([SQUARE], iscrowd="0")]}, 'its `iscrowd` is neither 0 nor 1 but "0"'),
        ({"annotations": [annotation([SQUARE], iscrowd=[])]}, "its `iscrowd` is neither 0 nor 1"),
        ({"categories": [*CATEGORIES, {"id": 9, "name": "cat"}]}, "two classes have one name: cat"),
        ({"categories": []}, "none of the classes, but no class"),
        ({"categories": None}, "is not a COCO file"),
        ({"annotations": [annotation([SQUARE], category_id=4)]}, "annotation 11 is of class 4"),
        ({"annotations": None}, "is not a COCO file"),
        ({"annotations": [3]}, "the 1st of its `annotations` is no object but 3"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, changed: dict[str, Any], what: str) -> None:
    with pytest.raises(NoImages, match=rf"truth\.json.*{what}") as told:
        read_truth(written(tmp_path, [], **changed))
    assert "Error" not in str(told.value)


def test_ids_may_be_written_as_other_tools_write_them(tmp_path: Path) -> None:
    marks = [annotation([SQUARE], image_id="7", category_id=3.0, iscrowd=None)]
    (truth,) = read_truth(written(tmp_path, marks, images=[{**IMAGES[0], "id": 7.0}]))
    assert len(truth.masks["cat"]) == 1


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"images": 3}'])
def test_a_file_of_another_kind(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "truth.json"
    path.write_bytes(content)
    with pytest.raises(NoImages, match="is no COCO file") as told:
        read_truth(path)
    assert "Error" not in str(told.value)
