import json
from pathlib import Path

import pytest

from serve_app.label.dataset import Dataset, DatasetInUse
from tests.support.labels import row, table


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
