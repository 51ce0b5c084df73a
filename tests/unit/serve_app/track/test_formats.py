"""The files of a run, as other tools read them."""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from pycocotools.coco import COCO

from sam3_engine.regions import RegionMask
from sam3_engine.rle import to_rle
from serve_app.track.formats import write_coco, write_masks, write_mot
from serve_app.track.journal import Found, Journal, Line

# pycocotools with numpy 2.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)


def found(number: int, label: str, mask: npt.NDArray[np.bool_]) -> Found:
    region = RegionMask.from_full(mask)
    return Found(
        id=number, label=label, score=0.75, box=list(region.box), area=region.area, rle=to_rle(region)
    )


def square(top: int, left: int, side: int) -> npt.NDArray[np.bool_]:
    mask = np.zeros((40, 60), dtype=np.bool_)
    mask[top : top + side, left : left + side] = True
    return mask


def journal_of(folder: Path, *objects: list[Found]) -> Journal:
    journal = Journal(folder / "work", {})
    with journal:
        journal.add(
            [Line(frame=n, seconds=n / 25, size=[40, 60], objects=each) for n, each in enumerate(objects)]
        )
    return journal


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    first = [found(1, "star", square(2, 3, 10)), found(2, "red circle", square(20, 30, 8))]
    return journal_of(tmp_path, first, [], [found(1, "star", square(4, 5, 10))])


def test_coco_is_read_by_its_own_tools(
    journal: Journal, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_coco(journal, tmp_path / "a.json")
    coco = COCO(str(tmp_path / "a.json"))
    assert len(coco.imgs) == 3
    assert [one["name"] for one in coco.cats.values()] == ["red circle", "star"]
    (only,) = coco.imgToAnns[3]
    assert (only["track_id"], only["bbox"], only["area"]) == (1, [5, 4, 10, 10], 100)
    np.testing.assert_array_equal(coco.annToMask(only), square(4, 5, 10))
    assert coco.imgs[3]["seconds"] == pytest.approx(0.08)
    ids = [one["id"] for one in coco.anns.values()]
    assert len(set(ids)) == len(ids) == 3


def test_coco_without_objects_is_whole(tmp_path: Path) -> None:
    write_coco(journal_of(tmp_path, [], []), tmp_path / "a.json")
    told = json.loads((tmp_path / "a.json").read_text())
    assert (len(told["images"]), told["annotations"], told["categories"]) == (2, [], [])


def test_mot_counts_frames_from_one(journal: Journal, tmp_path: Path) -> None:
    write_mot(journal, tmp_path / "a.txt")
    rows = np.loadtxt(tmp_path / "a.txt", delimiter=",")
    assert rows[:, :2].tolist() == [[1, 1], [1, 2], [3, 1]]
    assert rows[0].tolist() == [1, 1, 3, 2, 10, 10, 0.75, -1, -1, -1]


def test_masks_hold_the_objects_numbers(journal: Journal, tmp_path: Path) -> None:
    write_masks(journal, tmp_path / "a.masks")
    assert sorted(one.name for one in (tmp_path / "a.masks").iterdir()) == [
        "000000.png", "000001.png", "000002.png",
    ]  # fmt: skip
    first = Image.open(tmp_path / "a.masks" / "000000.png")
    assert first.mode == "P"
    np.testing.assert_array_equal(np.array(first), square(2, 3, 10) + 2 * square(20, 30, 8))


def test_numbers_beyond_a_byte_keep_their_value(tmp_path: Path) -> None:
    write_masks(journal_of(tmp_path, [found(300, "star", square(2, 3, 10))]), tmp_path / "a.masks")
    assert np.array(Image.open(tmp_path / "a.masks" / "000000.png")).max() == 300


def test_a_small_object_lies_on_a_large_one(tmp_path: Path) -> None:
    large, small = found(1, "a", square(0, 0, 30)), found(2, "b", square(5, 5, 4))
    for number, order in enumerate(([large, small], [small, large])):
        folder = tmp_path / str(number)
        folder.mkdir()
        write_masks(journal_of(folder, order), folder / "a.masks")
        assert np.array(Image.open(folder / "a.masks" / "000000.png"))[6, 6] == 2
