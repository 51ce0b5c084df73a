"""What the video tab saves: COCO for pycocotools, MOTChallenge's text, a PNG of numbers for each frame."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from tests.support.clips import RADIUS, blue_at, picture, red_at
from tests.support.scenes import HEIGHT, WIDTH
from tests.support.video_tab import VideoTab

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)  # pycocotools 2.0
FRAMES = 6


def follow_both(tab: VideoTab) -> None:
    """A concept is object 1, and a click object 2."""
    tab.open(FRAMES)
    tab.find("red circle")
    tab.click(blue_at(0))
    tab.track()


@pytest.mark.parametrize("segmentation", ["polygons", "rle"])
def test_coco_is_read_by_pycocotools(tab: VideoTab, tmp_path: Path, segmentation: str) -> None:
    follow_both(tab)
    tab.page.select_option("#video-segmentation", segmentation)
    path = tab.playground.saved("COCO JSON", tmp_path)
    assert path.name == "clip_coco.json"
    coco = COCO(path)
    images = coco.loadImgs(coco.getImgIds())
    assert [one["frame"] for one in images] == list(range(FRAMES))
    assert images[2]["file_name"] == "000002"
    names = {one["id"]: one["name"] for one in coco.loadCats(coco.getCatIds())}
    for image in images:
        assert (image["width"], image["height"]) == (WIDTH, HEIGHT)
        found = coco.loadAnns(coco.getAnnIds(imgIds=[image["id"]]))
        assert {one["track_id"]: names[one["category_id"]] for one in found} == {1: "red circle", 2: "object"}
        for one in found:
            x, y = (red_at if one["track_id"] == 1 else blue_at)(image["frame"])
            left, top, width, height = one["bbox"]
            assert (left, top, width, height) == pytest.approx(
                (x - RADIUS, y - RADIUS, 2 * RADIUS, 2 * RADIUS), abs=4
            )
            assert int(coco.annToMask(one).sum()) == pytest.approx(one["area"], rel=0.02)


def test_hidden_and_removed_objects_are_left_out(tab: VideoTab, tmp_path: Path) -> None:
    follow_both(tab)
    tab.page.get_by_role("button", name="Hide red circle 1").click()
    path = tab.playground.saved("MOT text", tmp_path)
    assert {line.split(",")[1] for line in path.read_text().splitlines()} == {"2"}
    tab.page.get_by_role("button", name="Remove Object 2").click()
    tab.settle()
    assert tab.playground.saved("MOT text", tmp_path).read_text() == ""


def test_mot(tab: VideoTab, tmp_path: Path) -> None:
    follow_both(tab)
    path = tab.playground.saved("MOT text", tmp_path)
    assert path.name == "clip_mot.txt"
    rows = np.loadtxt(path, delimiter=",")
    assert rows.shape == (2 * FRAMES, 10)
    assert [(int(row[0]), int(row[1])) for row in rows] == [
        (frame, track) for frame in range(1, FRAMES + 1) for track in (1, 2)
    ]
    x, y = red_at(FRAMES - 1)
    assert rows[-2, 2:6] == pytest.approx((x - RADIUS, y - RADIUS, 2 * RADIUS, 2 * RADIUS), abs=4)


def test_frame_masks_hold_the_numbers_of_objects(tab: VideoTab, tmp_path: Path) -> None:
    follow_both(tab)
    with zipfile.ZipFile(tab.playground.saved("Frame masks", tmp_path)) as archive:
        assert archive.namelist() == [f"{number:06d}.png" for number in range(FRAMES)]
        for number in range(FRAMES):
            with Image.open(io.BytesIO(archive.read(f"{number:06d}.png"))) as image:
                assert image.mode == "P"
                values = np.asarray(image)
            assert values.shape == (HEIGHT, WIDTH)
            for track, (x, y) in ((1, red_at(number)), (2, blue_at(number)), (0, (310, 10))):
                assert values[y, x] == track


def test_numbers_beyond_a_byte_have_two(tab: VideoTab) -> None:
    content = tab.playground.module(
        "png.js",
        """async ({ numbersPng }, counts) => {
            const { Mask } = await import(document.documentElement.dataset.assets + "/mask.js");
            const mask = new Mask({ size: [2, 3], counts });
            return [...await numbersPng(mask, [{ mask, number: 300 }], [[0, 0, 0]])];
        }""",
        "132",
    )
    with Image.open(io.BytesIO(bytes(content))) as image:
        values = np.asarray(image)
    assert values.tolist() == [[0, 300, 0], [300, 300, 0]]


def test_pictures_keep_their_names(tab: VideoTab, tmp_path: Path) -> None:
    """And frames that are the same picture are images of their own."""
    tab.choose({"a1.png": picture(0), "a2.png": picture(0), "a10.png": picture(1)})
    tab.find("red circle")
    tab.track()
    document = json.loads(tab.playground.saved("COCO JSON", tmp_path).read_text())
    assert [one["file_name"] for one in document["images"]] == ["a1.png", "a2.png", "a10.png"]
    assert len({one["id"] for one in document["images"]}) == 3
