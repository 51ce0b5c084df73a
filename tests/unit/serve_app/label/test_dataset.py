import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serve_app.label.classes import parse_classes
from serve_app.label.dataset import BrokenDataset, Dataset, DatasetInUse
from serve_app.label.labeller import ModelChoice
from serve_app.label.labelling import Labelling
from serve_app.label.objects import Rules
from tests.support.labels import found, row, table


def test_what_was_added_is_there_for_the_next_command(tmp_path: Path) -> None:
    with Dataset.open(tmp_path / "set") as dataset:
        dataset.add(table(row("/a.png"), row("/b.png", error="broken")))
    with Dataset.open(tmp_path / "set") as dataset:
        dataset.add(table(row("/c.png")))
        assert dataset.done() == {"/a.png": True, "/b.png": False, "/c.png": True}
        assert [image["location"] for image in dataset.images()] == ["/a.png", "/c.png"]
        assert len(dataset.parts()) == 2


def test_an_image_that_could_be_read_later_is_there_once_and_is_no_error(tmp_path: Path) -> None:
    with Dataset.open(tmp_path) as dataset:
        dataset.add(table(row("/a.png", error="broken"), row("/b.png", error="gone")))
        dataset.add(table(row("/a.png")))
        dataset.add(table(row("/a.png"), row("/b.png", error="gone still")))
        assert [image["location"] for image in dataset.images()] == ["/a.png"]
        assert dataset.done() == {"/a.png": True, "/b.png": False}
        assert dataset.tell_errors({"/caf\\xe9.png": "its name"}) == 2
    lines = [json.loads(line) for line in (tmp_path / "errors.jsonl").read_text().splitlines()]
    assert lines == [
        {"image": "/b.png", "error": "gone still"},
        {"image": "/caf\\xe9.png", "error": "its name"},
    ]


def test_errors_are_told_as_soon_as_they_are_written(tmp_path: Path) -> None:
    with Dataset.open(tmp_path) as dataset:
        dataset.add(table(row("/a.png", error="broken")))
        assert json.loads((tmp_path / "errors.jsonl").read_text()) == {"image": "/a.png", "error": "broken"}


def test_a_part_that_was_being_written_at_a_kill_is_no_part(tmp_path: Path) -> None:
    with Dataset.open(tmp_path) as dataset:
        dataset.add(table(row("/a.png")))
        whole = dataset.parts()[0].read_bytes()
        left = dataset.parts()[0].with_name("part-000001.parquet.writing")
        left.write_bytes(whole[: len(whole) // 2])
    with Dataset.open(tmp_path) as dataset:
        assert dataset.done() == {"/a.png": True}
        assert not left.exists()
        dataset.add(table(row("/b.png")))
        assert [image["location"] for image in dataset.images()] == ["/a.png", "/b.png"]


def test_two_commands_never_write_into_one_data_set(tmp_path: Path) -> None:
    with Dataset.open(tmp_path), pytest.raises(DatasetInUse), Dataset.open(tmp_path):
        pass
    with Dataset.open(tmp_path):
        pass


def test_a_cleared_data_set_has_nothing(tmp_path: Path) -> None:
    with Dataset.open(tmp_path) as dataset:
        dataset.add(table(row("/a.png")))
        dataset.describe({"labels": {}})
        dataset.clear()
        assert dataset.done() == {}
        assert dataset.manifest() == {}
        dataset.add(table(row("/b.png")))
        assert [part.name for part in dataset.parts()] == ["part-000000.parquet"]


def test_images_may_be_read_by_some_columns(tmp_path: Path) -> None:
    with Dataset.open(tmp_path) as dataset:
        dataset.add(table(row("/a.png")))
        assert list(dataset.images(["name"])) == [{"location": "/a.png", "name": "a.png", "error": None}]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("[[[[")


def changed_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 8] ^= 0xFF
    path.write_bytes(content)


def other_columns(path: Path) -> None:
    pq.write_table(pa.table({"location": ["/a.png"]}), path)


def other_types(path: Path) -> None:
    pq.write_table(pa.table({name: [1] for name in table(row("/a.png")).column_names}), path)


def row_of_nothing(path: Path) -> None:
    made = table(row("/a.png")).to_pylist()[0]
    pq.write_table(table({**made, "height": None, "objects": None, "name": None}), path)


def object_of_nothing(path: Path) -> None:
    cat = found("cat", np.ones((8, 10), dtype=np.bool_))
    pq.write_table(table(row("/a.png", [{**cat, "rle": None}])), path)


@pytest.mark.parametrize(
    "damage",
    [
        cut,
        emptied,
        text,
        changed_byte,
        other_columns,
        other_types,
        row_of_nothing,
        object_of_nothing,
    ],
)
def test_a_damaged_part_is_named_with_what_helps(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    with Dataset.open(tmp_path) as dataset:
        dataset.add(table(row("/a.png"), row("/b.png", error="gone")))
        dataset.add(table(row("/c.png")))
        damage(dataset.parts()[0])
    with Dataset.open(tmp_path) as dataset:
        with pytest.raises(BrokenDataset, match=r"part-000000.parquet is damaged .* Remove it, .*") as told:
            list(dataset.images())
        assert len(str(told.value).splitlines()) == 1
        dataset.parts()[0].unlink()
        assert dataset.done() == {"/c.png": True}
        dataset.clear()
        assert dataset.done() == {}


def test_a_part_that_may_not_be_read_is_not_called_damaged(tmp_path: Path) -> None:
    with Dataset.open(tmp_path) as dataset:
        (tmp_path / "parts" / "part-000000.parquet").symlink_to("nowhere")
        with pytest.raises(FileNotFoundError):
            dataset.done()


def test_other_files_beside_the_parts_are_none(tmp_path: Path) -> None:
    with Dataset.open(tmp_path) as dataset:
        dataset.add(table(row("/a.png")))
        (tmp_path / "parts" / "part-copy.parquet").write_bytes(b"x")
    assert Dataset(tmp_path).done() == {"/a.png": True}


LABELS = Labelling(parse_classes(["cat"], 0.5), ModelChoice(), Rules()).document()


@pytest.mark.parametrize(
    "manifest",
    [
        "",
        '{"labels": {',
        "\xff",
        "[" * 100_000,
        "[]",
        "null",
        "{}",
        json.dumps({"labels": []}),
        json.dumps({"labels": {**LABELS, "classes": ["cat"]}}),
        json.dumps({"labels": {**LABELS, "classes": {"cat": 1}}}),
        json.dumps({"labels": {**LABELS, "nms": "0.7"}}),
        json.dumps({"labels": LABELS, "images_per_second": "fast"}),
        json.dumps({"labels": LABELS, "weights": 1}),
    ],
)
def test_a_damaged_manifest_is_named_with_what_helps(tmp_path: Path, manifest: str) -> None:
    (tmp_path / "manifest.json").write_bytes(manifest.encode("latin-1"))
    with pytest.raises(BrokenDataset, match=r"manifest.json is damaged .* --restart") as told:
        Dataset(tmp_path).manifest()
    assert len(str(told.value).splitlines()) == 1


def test_parts_without_a_manifest_are_of_no_known_labels(tmp_path: Path) -> None:
    with Dataset.open(tmp_path) as dataset:
        assert dataset.manifest() == {}
        dataset.describe({"labels": LABELS, "weights": None})
        dataset.add(table(row("/a.png")))
        assert dataset.manifest()["labels"] == LABELS
        (tmp_path / "manifest.json").unlink()
        with pytest.raises(BrokenDataset, match=r"manifest.json is gone"):
            dataset.manifest()
