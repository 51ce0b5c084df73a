"""What the README tells people to type works as it stands there, with the server that `make serve` starts."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import requests
from PIL import Image, ImageChops

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
PHOTO = ROOT / "docs" / "images" / "shapes.jpg"
SHOWN = {"circle": 2, "green star": 2}  # how many of what the README asks for are in its picture
CLICKED = (404, 130, 519, 245)  # the red circle's box
Box = tuple[float, float, float, float]
START_SECONDS = 600.0


def blocks(language: str, holding: str) -> list[str]:
    """The README's code blocks in `language` that hold the text `holding`."""
    return [code for written, code in BLOCKS if written == language and holding in code]


@dataclass
class Server:
    port: int
    process: subprocess.Popen[str]
    output: Path

    def children(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def interrupt(self, timeout: float = 120.0) -> int:
        """Ctrl-C: a terminal sends SIGINT to the whole foreground group. Returns make's exit status."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(timeout)


def box_iou(a: Box, b: Box) -> float:
    width = max(0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0, min(a[3], b[3]) - max(a[1], b[1]))
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`make serve` on a port of its own, in the environment that runs the tests."""
    assert any(code.strip() == "make serve" for _, code in BLOCKS)
    port, output = free_port(), tmp_path_factory.mktemp("server") / "output.txt"
    with output.open("w") as log:
        process = subprocess.Popen(
            ["make", "serve", f"VENV={sys.prefix}", f"PORT={port}"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            text=True,
        )
    running = Server(port, process, output)
    try:
        wait_until_ready(running)
        yield running
    finally:
        if process.poll() is None:
            running.interrupt()


def wait_until_ready(server: Server) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.process.poll() is not None:
            pytest.fail(f"make serve ended with {server.process.returncode}:\n{server.output.read_text()}")
        try:
            if requests.get(f"http://localhost:{server.port}/readiness", timeout=5).status_code == 200:
                return
        except requests.RequestException:
            pass
        time.sleep(0.5)
    pytest.fail(f"not ready after {START_SECONDS:.0f} s:\n{server.output.read_text()}")


@pytest.fixture
def run(server: Server, tmp_path: Path):
    """Run one block in a folder that looks like the repository after `make serve`; returns its output."""
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    (tmp_path / ".venv").symlink_to(sys.prefix)

    def run_block(language: str, code: str) -> str:
        code = code.replace("localhost:9001", f"localhost:{server.port}")
        interpreter = {"bash": ["bash", "-euo", "pipefail"], "python": [sys.executable]}[language]
        done = subprocess.run(
            [*interpreter, "-c", code],
            cwd=tmp_path,
            env={**os.environ, "SAM3_PORT": str(server.port)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
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


def test_server_says_what_to_try(server: Server) -> None:
    deadline = time.monotonic() + 60
    while "curl" not in (printed := server.output.read_text()) and time.monotonic() < deadline:
        time.sleep(0.2)  # the routes answer a moment before the command says so
    assert f":{server.port}" in printed
    assert "tiny" in printed
    assert "curl" in printed


def test_curl_finds_the_shapes(run) -> None:
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


def test_command_line_draws_the_overlay(run, tmp_path: Path) -> None:
    (code,) = blocks("bash", "sam3-serve segment")
    run("bash", code)
    drawn, photo = Image.open(tmp_path / "overlay.png").convert("RGB"), Image.open(PHOTO).convert("RGB")
    assert drawn.size == photo.size
    assert ImageChops.difference(drawn, photo).getbbox() is not None


def test_roboflow_client(run) -> None:
    (code,) = blocks("python", "InferenceHTTPClient")
    count, outline = run("python", code).splitlines()
    assert count == f"{SHOWN['circle']} circles"
    points = [point for polygon in json.loads(outline) for point in polygon]
    xs, ys = zip(*points, strict=True)
    assert box_iou((min(xs), min(ys), max(xs), max(ys)), CLICKED) > 0.7


def test_sdk_in_process(run) -> None:
    (code,) = blocks("python", "SegmentAnything3")
    lines = run("python", code).splitlines()
    assert len(lines) == SHOWN["circle"]
    assert all(float(line.split(" ", 1)[0]) >= 0.5 for line in lines)


def test_ctrl_c_stops_everything_that_was_started(server: Server) -> None:
    started = server.children()
    assert started
    server.interrupt()
    _, alive = psutil.wait_procs(started, timeout=60)
    assert alive == []
    assert "Traceback" not in server.output.read_text()
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://localhost:{server.port}/readiness", timeout=5)
