"""`sam3-serve label` as a process, with Ray."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.request import urlopen

import psutil
import pyarrow.parquet as pq
import pytest
from pycocotools.coco import COCO

from harness.local_cluster import Node, local_cluster
from harness.orphans import end_with_parent
from harness.waiting import wait_until
from serve_app.label.run import FAILED
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
KILLER = """
import os, pathlib
read = pathlib.Path.read_bytes
pathlib.Path.read_bytes = lambda path: os._exit(1) if path.name == "killer.png" else read(path)
"""
"""Has a process die that reads one of the images, as a decoder's mistake would."""


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
    actors = [] if "--actors" in arguments else ["--actors", "1"]
    return [sys.executable, "-c", SMALL_PARTS, "label", str(photos), *actors, *asked]


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
    assert said.splitlines()[-1] == "Error: stopped. The same command goes on from here."
    assert "WARNING" not in said, "no thread of Ray's starts it again"
    assert "Warning" not in said
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


def figure(node: Node, name: str) -> float:
    """The sum of a metric of Ray's exposition on a node, as a Prometheus reads it; 0 where it is not there."""
    (port,) = [word.split("=")[1] for word in node.command if word.startswith("--metrics-export-port=")]
    with suppress(OSError), urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))
    return 0.0


def test_a_cluster_that_loses_a_node_misses_no_image_and_labels_none_twice(photos: Path) -> None:
    def with_model(nodes: list[Node]) -> list[Node]:
        return [
            node
            for node in nodes
            if any(
                "LabelImages" in " ".join(each.cmdline()) for each in node.process.children(recursive=True)
            )
        ]

    parts = photos.parent / "set" / "parts"
    with local_cluster() as cluster:
        head = cluster.start_head()
        workers = [cluster.start_worker({"sam3/encoder": "true"}, num_cpus=1) for _ in range(3)]
        with subprocess.Popen(
            command(photos, "--address", "auto", "--actors", "3", "--format", "coco", "--val", "0"),
            env=dict(head.environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=end_with_parent,
        ) as process:
            wait_until(lambda: process.poll() is not None or len(list(parts.glob("*.parquet"))) > 1)
            wait_until(lambda: process.poll() is not None or figure(head, "ray_sam3_label_images_total") > 0)
            assert process.poll() is None, process.communicate()[0]
            with_model(workers)[0].kill()
            said, _ = process.communicate(timeout=WAIT_S)
        assert process.returncode == 0, said
    written = Counter(location for location, error in rows(photos) if error is None)
    assert written == Counter({str(photos / f"{number:03d}.png"): 1 for number in range(IMAGES)})
    assert f"{IMAGES} images, {3 * IMAGES} objects" in said


def test_an_image_that_kills_its_reader_stops_nothing(photos: Path, tmp_path: Path) -> None:
    site = str(tmp_path / "site")
    Path(site).mkdir()
    Path(site, "sitecustomize.py").write_text(KILLER)
    for photo in sorted(photos.glob("0*.png"))[10:]:
        photo.unlink()
    (photos / "killer.png").write_bytes(numbered(0))
    done = subprocess.run(
        command(photos, "--format", "coco"),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [site, os.environ.get("PYTHONPATH")]))},
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = dict(rows(photos))
    assert found.pop(str(photos / "killer.png")) == FAILED
    assert "cannot" in str(found.pop(str(photos / "broken.jpg")))
    assert set(found.values()) == {None}
    assert len(found) == 10


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
