"""The commands and code of the README work as they stand there. `make serve` itself: tests/integration/test_up.py."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from harness.server import ServerProcess

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
PHOTO = ROOT / "docs" / "images" / "shapes.jpg"
SHOWN = {"circle": 2, "green star": 2}  # how many of what the README asks for are in its picture
CLICKED = (404, 130, 519, 245)  # the red circle's box
Box = tuple[float, float, float, float]
Run = Callable[[str, str], str]


def blocks(language: str, holding: str) -> list[str]:
    """The README's code blocks in `language` that hold the text `holding`."""
    return [code for written, code in BLOCKS if written == language and holding in code]


def box_iou(a: Box, b: Box) -> float:
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


@pytest.fixture
def run(tiny_server: ServerProcess, tmp_path: Path) -> Run:
    """Run one block in a folder that looks like the repository after `make serve`; returns its output."""
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    port = tiny_server.url.rpartition(":")[2]

    def run_block(language: str, code: str) -> str:
        code = code.replace("localhost:9001", f"localhost:{port}")
        interpreter = {"bash": ["bash", "-euo", "pipefail"], "python": [sys.executable]}[language]
        done = subprocess.run(
            [*interpreter, "-c", code],
            cwd=tmp_path,
            env={**os.environ, "SAM3_PORT": port},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{code}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run_block


def test_every_block_is_run_by_a_test_below() -> None:
    covered = [
        *blocks("bash", "make serve"),
        *blocks("bash", "curl "),
        *blocks("bash", "sam3-serve segment"),
        *blocks("python", "InferenceHTTPClient"),
        *blocks("python", "SegmentAnything3"),
    ]
    assert sorted(covered) == sorted(code for _, code in BLOCKS)


def test_curl_finds_the_shapes(run: Run) -> None:
    (code,) = blocks("bash", "curl ")
    answer = json.loads(run("bash", code))
    found = {result["echo"]["text"]: result["predictions"] for result in answer["prompt_results"]}
    assert {text: len(predictions) for text, predictions in found.items()} == SHOWN
    with Image.open(PHOTO) as photo:
        width, height = photo.size
    for prediction in (prediction for predictions in found.values() for prediction in predictions):
        assert prediction["confidence"] >= 0.5
        points = [point for polygon in prediction["masks"] for point in polygon]
        assert len(points) >= 3
        assert all(0 <= x < width and 0 <= y < height for x, y in points)


def test_command_line_draws_the_overlay(run: Run, tmp_path: Path) -> None:
    (code,) = blocks("bash", "sam3-serve segment")
    run("bash", code)
    drawn, photo = Image.open(tmp_path / "overlay.png").convert("RGB"), Image.open(PHOTO).convert("RGB")
    assert drawn.size == photo.size
    assert ImageChops.difference(drawn, photo).getbbox() is not None


def test_roboflow_client(run: Run) -> None:
    (code,) = blocks("python", "InferenceHTTPClient")
    count, outline = run("python", code).splitlines()
    assert count == f"{SHOWN['circle']} circles"
    points = [point for polygon in json.loads(outline) for point in polygon]
    xs, ys = zip(*points, strict=True)
    assert box_iou((min(xs), min(ys), max(xs), max(ys)), CLICKED) > 0.7


def test_sdk_in_process(run: Run) -> None:
    (code,) = blocks("python", "SegmentAnything3")
    lines = run("python", code).splitlines()
    assert len(lines) == SHOWN["circle"]
    assert all(float(line.split(" ", 1)[0]) >= 0.5 for line in lines)
