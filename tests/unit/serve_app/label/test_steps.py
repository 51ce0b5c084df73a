"""The three steps of the pipeline, one after the other in this process: no Ray."""

import os
from collections import Counter
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from sam3_engine.rle import from_rle
from sam3_engine.sdk import Sam3Prompt, SegmentAnything3
from sam3_engine.spec import TINY
from serve_app.label import reading
from serve_app.label.classes import LabelClass, parse_classes
from serve_app.label.labeller import LabelImages, ModelChoice
from serve_app.label.objects import FindObjects, Rules
from serve_app.label.reading import ReadImages
from serve_app.label.rows import DECODED, FOUND, LABELLED, TO_READ
from tests.support.plain_server import plain_server
from tests.support.scenes import CIRCLE, SECOND_CIRCLE, SQUARE, box_iou, encoded, scene

# pycocotools with numpy 2.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)
SIDE = TINY.image_size
MOST = 120_000_000


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """A scene, what is no image, a scene that its camera turned, nothing, and a scene."""
    turned = Image.Exif()
    turned[0x0112] = 6
    contents = {
        "a.png": encoded(scene()),
        "b.jpg": b"no image",
        "c.jpg": encoded(
            scene().transpose(Image.Transpose.ROTATE_90), "JPEG", exif=turned.tobytes(), quality=95
        ),
        "e.png": encoded(scene()),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    return [tmp_path / name for name in ("a.png", "b.jpg", "c.jpg", "d.png", "e.png")]


def to_read(files: Sequence[Path]) -> pa.Table:
    return pa.Table.from_pylist(
        [{"location": str(path), "name": path.name} for path in files], schema=TO_READ
    )


def label(
    files: Sequence[Path], classes: Sequence[LabelClass], rules: Rules | None = None
) -> list[dict[str, Any]]:
    decoded = ReadImages(SIDE, MOST)(to_read(files))
    assert decoded.schema == DECODED
    found = LabelImages(classes, ModelChoice())(decoded)
    assert found.schema == FOUND
    labelled = FindObjects(classes, rules)(found)
    assert labelled.schema == LABELLED
    rows: list[dict[str, Any]] = labelled.to_pylist()
    return rows


def test_every_readable_image_gets_the_objects_of_every_class(files: list[Path]) -> None:
    rows = label(files, parse_classes(["red circle", "blue square", "star"], 0.5))
    assert [row["location"] for row in rows] == [str(path) for path in files]
    for row in (rows[0], rows[2], rows[4]):
        assert (row["width"], row["height"], row["error"]) == (320, 256, None)
        assert row["model_s"] > 0
        boxes = {
            name: [one["box"] for one in row["objects"] if one["class"] == name]
            for name in ("red circle", "blue square", "star")
        }
        assert [len(found) for found in boxes.values()] == [2, 1, 0]
        assert box_iou(boxes["blue square"][0], SQUARE) > 0.9
        for truth in (CIRCLE, SECOND_CIRCLE):
            assert max(box_iou(box, truth) for box in boxes["red circle"]) > 0.9
        assert [one["score"] for one in row["objects"]] == sorted(
            (one["score"] for one in row["objects"]), reverse=True
        )


def test_an_image_that_cannot_be_read_has_a_reason_and_nothing_else(files: list[Path]) -> None:
    rows = label(files, parse_classes(["red circle"], 0.5))
    for row, reason in ((rows[1], "not an image"), (rows[3], "No such file")):
        assert reason in row["error"]
        assert row["objects"] is row["width"] is row["digest"] is row["model_s"] is None


def test_a_batch_without_any_readable_image_has_a_row_for_each(tmp_path: Path) -> None:
    rows = label([tmp_path / "a.png", tmp_path / "b.png"], parse_classes(["star"], 0.5))
    assert [row["objects"] for row in rows] == [None, None]


def test_an_image_beyond_the_limit_is_refused(files: list[Path]) -> None:
    (row,) = ReadImages(SIDE, 1000)(to_read(files[:1])).to_pylist()
    assert "pixels" in row["error"]


def test_masks_and_scores_are_those_of_the_sdk_for_more_classes_than_a_pass_takes(files: list[Path]) -> None:
    names = ["red circle", *(f"thing {number}" for number in range(20)), "blue square"]
    (row,) = label(files[:1], parse_classes(names, 0.5), Rules(nms=None))
    sdk = SegmentAnything3(model="tiny")
    answer = sdk.segment_image(files[0], prompts=[Sam3Prompt(text=name) for name in names[:16]], format="rle")
    last = sdk.segment_image(files[0], prompts=[Sam3Prompt(text=name) for name in names[16:]], format="rle")
    expected = sorted(
        (names[number], one.area, one.confidence)
        for number, result in enumerate([*answer.prompt_results, *last.prompt_results])
        for one in result.predictions
    )
    found = sorted((one["class"], one["area"], one["score"]) for one in row["objects"])
    assert [one[:2] for one in found] == [one[:2] for one in expected]
    assert [one[2] for one in found] == pytest.approx([one[2] for one in expected], abs=1e-4)
    assert len(expected) >= 3
    for one in row["objects"]:
        mask = from_rle({"size": [row["height"], row["width"]], "counts": one["rle"]})
        assert np.count_nonzero(mask) == one["area"]


def count(rows: list[dict[str, Any]], name: str) -> int:
    return sum(one["class"] == name for one in rows[0]["objects"])


def test_several_phrases_of_a_class_find_an_object_once_even_where_all_overlaps_are_kept(
    files: list[Path],
) -> None:
    rows = label(files[:1], parse_classes(["round: red circle | circle"], 0.5), Rules(nms=None))
    assert count(rows, "round") == 2


def test_an_object_that_is_rather_the_negative_phrase_is_left_out(files: list[Path]) -> None:
    with_squares = label(files[:1], parse_classes(["thing: red circle | blue square"], 0.5))
    without = label(files[:1], parse_classes(["thing: red circle | square | !blue square"], 0.5))
    assert count(with_squares, "thing") == 3
    assert count(without, "thing") in (2, 3)
    assert {one["class"] for one in without[0]["objects"]} == {"thing"}


def test_two_classes_do_not_share_an_object_unless_they_may(files: list[Path]) -> None:
    classes = parse_classes(["red circle", "circle"], 0.5)
    assert len(label(files[:1], classes)[0]["objects"]) == 2
    assert len(label(files[:1], classes, Rules(nms=None))[0]["objects"]) == 4


def test_small_objects_are_left_out(files: list[Path]) -> None:
    classes = parse_classes(["red circle", "blue square"], 0.5)
    (row,) = label(files[:1], classes, Rules(smallest=6000))
    assert [one["class"] for one in row["objects"]] == ["blue square"]


def test_a_pipe_and_a_folder_are_no_files_and_a_giant_is_not_read(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("pipe.png", "folder.png", "giant.png")]
    os.mkfifo(paths[0])
    paths[1].mkdir()
    with paths[2].open("wb") as file:
        file.truncate(2**31)
    rows = ReadImages(SIDE, MOST)(to_read(paths)).to_pylist()
    assert [row["error"] for row in rows] == [
        "it is no file",
        "it is no file",
        "the file has 2.0 GiB; at most 1 GiB is read",
    ]


class Flaky(BaseHTTPRequestHandler):
    """Refuses the first so many requests for a path with its number."""

    seen: ClassVar[Counter[str]] = Counter()

    def do_GET(self) -> None:
        self.seen[self.path] += 1
        _, status, times = self.path.split("/")
        refused = self.seen[self.path] <= int(times)
        self.send_response(int(status) if refused else 200)
        self.end_headers()
        self.wfile.write(b"" if refused else encoded(scene()))

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_a_server_that_is_busy_is_asked_again_and_one_that_refuses_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reading, "PAUSE_S", 0.0)
    with plain_server(Flaky) as port:
        wanted = {"503/2": 3, "429/1": 2, "503/9": 3, "404/9": 1}
        rows = ReadImages(SIDE, MOST)(
            pa.Table.from_pylist(
                [{"location": f"http://127.0.0.1:{port}/{path}", "name": path} for path in wanted],
                schema=TO_READ,
            )
        ).to_pylist()
    assert [row["error"] is None for row in rows] == [True, True, False, False]
    assert {path: Flaky.seen[f"/{path}"] for path in wanted} == wanted
