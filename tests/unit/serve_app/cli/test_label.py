"""The command without Ray: its messages before it starts, and labelling by a running service."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from pycocotools.coco import COCO

from serve_app.cli.label_model import labelling_of
from serve_app.cli.label_options import Asked, label_options
from serve_app.cli.main import main
from serve_app.http.app import create_app
from serve_app.label.classes import parse_classes
from serve_app.settings import Settings
from tests.support.fake_segmenter import FakeSegmenter
from tests.support.http_server import serving
from tests.support.scenes import numbered

# pycocotools with numpy 2.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)
CLASSES = ("--class", "red circle", "--class", "blue square")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(5):
        (folder / f"{number}.png").write_bytes(numbered(number))
    return folder


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(create_app(FakeSegmenter(), Settings())) as address:
        yield address


def label(photos: Path, *arguments: str) -> Result:
    output = str(photos.parent / "set")
    return CliRunner().invoke(main, ["label", *arguments, "-o", output], catch_exceptions=False)


def asked(*arguments: str) -> Asked:
    """The options as click gives them."""
    found: list[Asked] = []

    @click.command()
    @label_options
    def command(
        model: object, checkpoint: object, base_checkpoint: object, device: object, **options: Any
    ) -> None:
        found.append(Asked(**options))

    command.main(list(arguments), standalone_mode=False)
    return found[0]


def test_the_base_of_a_fine_tune_is_an_option(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "tuned.pt").write_bytes(b"x")
    weights = ("--checkpoint", str(tmp_path / "tuned.pt"), "--base-checkpoint", str(tmp_path / "nowhere.pt"))
    done = label(photos, str(photos), *CLASSES, *weights)
    assert done.exit_code == 1
    assert "nowhere.pt" in done.output


def test_weights_are_those_that_the_settings_name(tmp_path: Path) -> None:
    tuned, base = tmp_path / "tuned.pt", tmp_path / "base.pt"
    for path in (tuned, base):
        path.write_bytes(b"x")
    settings = Settings(checkpoint=str(tuned), base_checkpoint=str(base), compile=True, dtype="float32")
    choice = labelling_of(settings, asked("photos", *CLASSES, "-o", str(tmp_path))).choice
    assert (choice.checkpoint, choice.base) == (str(tuned), str(base))
    assert (choice.compile, choice.dtype) == (True, "float32")


def test_a_dry_run_says_what_would_be_done_and_leaves_nothing(photos: Path) -> None:
    done = label(
        photos, str(photos), "--class", "blue: blue square | !star @0.3", "--limit", "3", "--dry-run"
    )
    assert done.exit_code == 0
    assert "3 images; 1 class, 2 phrases" in done.output
    assert "blue: blue square | !star @0.3" in done.output
    assert not (photos.parent / "set").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["{photos}"], "no class is named"),
        (["{photos}", "--class", "cat @2"], "lies between 0 and 1"),
        (["{photos}", "--class", "c\udcff"], "a text of class 'c\\udcff' is not valid UTF-8"),
        (["{photos}", "--classes", "{photos}/0.png"], "0.png is not valid UTF-8"),
        (["{photos}/none", *CLASSES], "there is no"),
        ([*CLASSES], "SOURCE"),
        (["{photos}", *CLASSES, "--val", "0.7", "--test", "0.7"], "no shares of one whole"),
        (["{photos}", *CLASSES, "--format", "pdf"], "pdf"),
        (["{photos}", "--class", "cat @"], "--class: 'cat @': a threshold is expected behind @, not nothing"),
        (["{photos}", "--class", "cat", "--class", "Cat"], "--class: class 'Cat' is there twice"),
        (["http://[::1/list.txt", *CLASSES], "is no URL"),
        (["", *CLASSES], "a source is an empty text"),
        ([*CLASSES, "--calibrate", "{photos}/0.png"], "0.png is no COCO file: it is not valid UTF-8"),
    ],
)
def test_what_cannot_be_done_is_told_before_anything_is_made(
    photos: Path, arguments: list[str], told: str
) -> None:
    done = label(photos, *(argument.format(photos=photos) for argument in arguments))
    assert done.exit_code != 0
    assert told in done.output
    assert "should not happen" not in done.output
    assert not (photos.parent / "set").exists()


def test_a_service_labels_images_and_the_command_is_kept_without_the_key(
    photos: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["/bin/sam3-serve", "label", "--api-key", "s3k_secret", "--url", url])
    done = label(
        photos, str(photos), *CLASSES, "--url", url, "--format", "coco", "--format", "yolo-seg", "--val", "0"
    )
    assert done.exit_code == 0, done.output
    assert "5 images, 15 objects" in done.output
    coco = COCO(photos.parent / "set" / "coco" / "annotations" / "instances_train.json")
    assert (len(coco.getImgIds()), len(coco.getAnnIds())) == (5, 15)
    manifest = json.loads((photos.parent / "set" / "manifest.json").read_text())
    assert manifest["command"] == ["sam3-serve", "label", "--api-key", "...", "--url", url]
    again = label(photos, str(photos), *CLASSES, "--url", url)
    assert "5 of 5 images are labelled already" in again.output


@pytest.mark.parametrize("output", ["photos", ".", "photos/sub"])
def test_an_output_folder_that_holds_the_photos_is_refused(
    photos: Path, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos.parent)
    (photos / "sub").mkdir()
    (photos / "0.png").rename(photos / "sub" / "0.png")
    before = sorted(photos.parent.rglob("*"))
    done = CliRunner().invoke(main, ["label", "photos", *CLASSES, "-o", output])
    assert done.exit_code == 1
    assert "the folder of the data set: choose an output folder that holds none" in done.output
    assert sorted(photos.parent.rglob("*")) == before


def test_a_folder_of_a_format_that_the_command_did_not_write_stays(photos: Path, url: str) -> None:
    mine = photos.parent / "set" / "coco" / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    done = label(photos, str(photos), *CLASSES, "--url", url)
    assert done.exit_code == 1
    assert "coco is there already, and no data set is" in done.output
    assert mine.read_text() == "mine"
    mine.unlink()
    mine.parent.rmdir()
    assert label(photos, str(photos), *CLASSES, "--url", url).exit_code == 0
    assert label(photos, str(photos), *CLASSES, "--url", url).exit_code == 0


@pytest.mark.parametrize("option", ["-o", "--output"])
def test_an_output_without_a_name_is_refused(
    photos: Path, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos.parent)
    done = CliRunner().invoke(main, ["label", "photos", *CLASSES, option, ""])
    assert done.exit_code == 2
    assert "it is empty: name a folder" in done.output
    assert [path.name for path in photos.parent.iterdir()] == ["photos"]


def test_a_tilde_of_the_command_line_is_the_home_folder(
    photos: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(photos.parent))
    done = CliRunner().invoke(main, ["label", "~/pho*/*.png", *CLASSES, "--url", url, "--output=~/set"])
    assert done.exit_code == 0, done.output
    assert "5 images, 15 objects" in done.output
    assert (photos.parent / "set" / "manifest.json").exists()
    done = label(photos, "~no-such-user/x", *CLASSES)
    assert done.exit_code == 1
    assert "there is no ~no-such-user/x" in done.output


def test_a_damaged_data_set_is_told_in_one_line_and_restart_begins_again(photos: Path, url: str) -> None:
    command = [str(photos), *CLASSES, "--url", url]
    assert label(photos, *command).exit_code == 0
    (part,) = (photos.parent / "set" / "parts").iterdir()
    content = part.read_bytes()
    part.write_bytes(content[:-20])
    for more in ([], ["--dry-run"]):
        refused = label(photos, *command, *more)
        assert refused.exit_code == 1
        assert f"Error: {part} is damaged" in refused.output.splitlines()[-1]
        assert "should not happen" not in refused.output
    part.write_bytes(content)
    manifest = photos.parent / "set" / "manifest.json"
    manifest.write_text(manifest.read_text()[:40])
    refused = label(photos, *command)
    assert refused.exit_code == 1
    assert f"Error: {manifest} is damaged" in refused.output.splitlines()[-1]
    assert label(photos, *command, "--restart").exit_code == 0


def test_parts_of_another_data_set_are_named(photos: Path, url: str) -> None:
    assert label(photos, str(photos), "--class", "blue square", "--url", url).exit_code == 0
    (part,) = (photos.parent / "set" / "parts").iterdir()
    content = part.read_bytes()
    circles = [str(photos), "--class", "red circle", "--url", url]
    assert label(photos, *circles, "--restart").exit_code == 0
    part.with_name("part-000000.parquet").write_bytes(content)
    refused = label(photos, *circles)
    assert refused.exit_code == 1
    assert "a part holds objects of the class 'blue square'" in refused.output


def test_changed_classes_are_named_and_restart_begins_again(photos: Path, url: str) -> None:
    assert label(photos, str(photos), *CLASSES, "--url", url).exit_code == 0
    other = ["--class", "red circle @0.9", "--url", url]
    refused = label(photos, str(photos), *other)
    assert refused.exit_code == 1
    assert "'red circle': threshold 0.5 before, 0.9 now" in refused.output
    assert "class 'blue square' is not there any more" in refused.output
    assert label(photos, str(photos), *other, "--restart").exit_code == 0


def truth_of(photos: Path) -> Path:
    """The labels of the photos as a truth, which they have been labelled with."""
    truth = photos / "truth.json"
    truth.write_text((photos.parent / "set" / "coco" / "annotations" / "instances_train.json").read_text())
    return truth


def test_a_calibration_that_cannot_write_or_shall_not_asks_no_model(photos: Path, url: str) -> None:
    assert label(photos, str(photos), *CLASSES, "--url", url, "--val", "0").exit_code == 0
    truth = str(truth_of(photos))
    away = [*CLASSES, "--calibrate", truth, "--url", "http://127.0.0.1:1"]
    shutil.rmtree(photos.parent / "set")
    dry = label(photos, *away, "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert dry.output.splitlines()[0] == f"5 images of {truth}; 2 classes"
    assert "thresholds would go to" in dry.output
    assert not (photos.parent / "set").exists()
    both = label(photos, str(photos), *away)
    assert both.exit_code == 2
    assert "SOURCE has no part in it" in both.output
    (photos.parent / "set").write_text("a file")
    assert label(photos, *away).exit_code == 2
    (photos.parent / "set").unlink()
    (photos.parent / "set" / "classes.txt").mkdir(parents=True)
    refused = label(photos, *away)
    assert refused.exit_code == 2
    assert "classes.txt is a folder" in refused.output


def test_a_calibration_does_not_write_over_the_classes_that_it_reads(photos: Path, url: str) -> None:
    assert label(photos, str(photos), *CLASSES, "--url", url, "--val", "0").exit_code == 0
    mine = photos.parent / "set" / "classes.txt"
    mine.write_text("red circle  # mine\n")
    refused = label(photos, "--calibrate", str(truth_of(photos)), "--classes", str(mine), "--url", url)
    assert refused.exit_code == 2
    assert "this command uses already" in refused.output
    assert mine.read_text() == "red circle  # mine\n"


def test_thresholds_are_chosen_by_true_labels(photos: Path, url: str) -> None:
    assert label(photos, str(photos), *CLASSES, "--url", url, "--val", "0").exit_code == 0
    truth = truth_of(photos)
    classes = [*CLASSES, "--class", "green star"]
    done = label(photos, "--calibrate", str(truth), *classes, "--url", url)
    assert done.exit_code == 0, done.output
    assert "F1 1.000" in done.output
    assert "nothing to choose by" in done.output
    lines = (photos.parent / "set" / "classes.txt").read_text().splitlines()
    assert [one.name for one in parse_classes(lines, 0.1)] == ["red circle", "blue square", "green star"]
    assert parse_classes(lines, 0.1)[2].threshold == 0.5
