"""`sam3-serve label` as a process, with Ray."""

import json
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest
from pycocotools.coco import COCO

from harness.orphans import end_with_parent
from tests.support.patience import PATIENCE_S
from tests.support.scenes import numbered

ROOT = Path(__file__).parents[2]
IMAGES = 96
WAIT_S = PATIENCE_S
SMALL_PARTS = """
from serve_app.label import writer
writer.PART_IMAGES, writer.PART_S = 8, 0.0
from serve_app.cli.main import main
main()
"""
"""The command, which writes after each few images."""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(IMAGES):
        (folder / f"{number:03d}.png").write_bytes(numbered(number))
    (folder / "broken.jpg").write_bytes(b"no image")
    return folder


def command(photos: Path, *arguments: str) -> list[str]:
    asked = ["--class", "red circle", "--class", "blue square", "-o", str(photos.parent / "set"), *arguments]
    return [sys.executable, "-c", SMALL_PARTS, "label", str(photos), "--actors", "1", *asked]


def label(photos: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command(photos, *arguments), capture_output=True, text=True, timeout=WAIT_S, check=False
    )


def interrupted(photos: Path, how: signal.Signals, parts: int) -> tuple[int, str]:
    """Start the command, and end it once it has written so many parts more. Its exit status, and what it said."""
    folder = photos.parent / "set" / "parts"
    before = len(list(folder.glob("*.parquet")))
    process = subprocess.Popen(
        command(photos),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=end_with_parent,
    )
    deadline = time.monotonic() + WAIT_S
    while len(list(folder.glob("*.parquet"))) < before + parts:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.01)
    started = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(how)
    process.wait(WAIT_S)
    _, alive = psutil.wait_procs(started, timeout=WAIT_S)
    assert alive == []
    return process.returncode, process.communicate()[0]


def rows(photos: Path) -> Iterator[tuple[str, str | None]]:
    for part in sorted((photos.parent / "set" / "parts").glob("*.parquet")):
        table = pq.read_table(part, columns=["location", "error"])
        yield from zip(table["location"].to_pylist(), table["error"].to_pylist(), strict=True)


def test_no_image_is_labelled_twice_and_none_is_missing_after_kills_at_any_moment(photos: Path) -> None:
    interrupted(photos, signal.SIGKILL, 1)
    interrupted(photos, signal.SIGKILL, 2)
    status, said = interrupted(photos, signal.SIGTERM, 1)
    assert status == 1
    assert "the same command goes on" in said.lower()
    written = Counter(location for location, error in rows(photos) if error is None)
    assert 0 < len(written) < IMAGES

    done = label(photos, "--format", "coco", "--val", "0")
    assert done.returncode == 0, done.stderr
    assert f"{len(written)} of {IMAGES + 1} images are labelled already" in done.stdout
    written = Counter(location for location, error in rows(photos) if error is None)
    assert written == Counter({str(photos / f"{number:03d}.png"): 1 for number in range(IMAGES)})
    (error,) = (photos.parent / "set" / "errors.jsonl").read_text().splitlines()
    assert json.loads(error)["image"] == str(photos / "broken.jpg")
    coco = COCO(photos.parent / "set" / "coco" / "annotations" / "instances_train.json")
    assert len(coco.getImgIds()) == IMAGES
    assert len(coco.getAnnIds()) == 3 * IMAGES


def test_a_model_that_cannot_be_loaded_is_told_in_one_line(photos: Path) -> None:
    broken = photos.parent / "weights.safetensors"
    broken.write_bytes(b"no weights")
    done = label(photos, "--checkpoint", str(broken), "--limit", "2")
    assert done.returncode == 1
    assert str(broken) in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_the_documented_pipeline_runs_on_any_dataset() -> None:
    (code,) = re.findall(
        r"^```python\n(.*?)^```$", (ROOT / "docs/label.md").read_text(), re.MULTILINE | re.DOTALL
    )
    around = f"""
from serve_app.cli.local_ray import local_ray
from serve_app.settings import Settings
with local_ray(Settings()):
    exec({code!r})
"""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", around],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("shapes.jpg [('red circle'")
