"""The full-size model on CPUs, with random weights: it starts, answers, and each process holds its part of it.

It prints what that costs. It takes about 12 GB of memory and 4 GB of disk, and some minutes.
"""

import base64
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import pytest
import requests

from harness.server import ServerProcess, server_process
from harness.usage import REPLICA
from scripts.random_checkpoint import write

GB = 1e9
NEEDED = 14 * GB
MOST_BYTES = {"ImageEncoder": 4.0 * GB, "PromptDecoder": 5.0 * GB}
"""Memory of a replica's own. Before they loaded parts, each had the whole model: 3.4 GB of weights beside its work."""


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if psutil.virtual_memory().available < NEEDED:
        pytest.skip(f"needs {NEEDED / GB:.0f} GB of free memory")
    path = tmp_path_factory.mktemp("weights") / "sam3.pt"
    write(path)
    return path


@pytest.fixture(scope="module")
def started(
    checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ServerProcess, float]]:
    """A server, and the seconds that its start took."""
    before = time.monotonic()
    folder = tmp_path_factory.mktemp("server")
    with server_process(
        folder,
        model="sam3",
        checkpoint=str(checkpoint),
        device="cpu",
        request_timeout_s="600",
        object_store_bytes="1GiB",
    ) as server:
        yield server, time.monotonic() - before


def test_the_full_size_model_is_served_on_cpus(
    started: tuple[ServerProcess, float], capsys: pytest.CaptureFixture[str]
) -> None:
    server, start_s = started
    image = {"type": "base64", "value": picture()}
    rows = [("start", f"{start_s:.0f} s")]

    def ask(row: str, route: str, body: dict[str, Any]) -> dict[str, Any]:
        before = time.monotonic()
        answer = requests.post(f"{server.url}/sam3/{route}", json=body, timeout=600)
        rows.append((row, f"{time.monotonic() - before:.2f} s"))
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    image_id = ask("a new image", "embed_image", {"image": image})["image_id"]
    for row in ("the first concept on it", "another concept"):
        concepts = {"image": image, "image_id": image_id, "prompts": [{"type": "text", "text": row}]}
        (found,) = ask(row, "concept_segment", concepts)["prompt_results"]
        assert all(0 <= one["confidence"] <= 1 for one in found["predictions"])
    point = {"points": [{"x": 200, "y": 150, "positive": True}]}
    for row in ("the first click", "another click"):
        clicks = {"image_id": image_id, "prompts": [point]}
        assert len(ask(row, "visual_segment", clicks)["predictions"]) == 1

    for deployment, most in MOST_BYTES.items():
        (process,) = server.named(f"{REPLICA}sam3:{deployment}")
        held = process.memory_full_info().uss
        rows.append((f"memory of {deployment}", f"{held / GB:.2f} GB"))
        assert held < most
    with capsys.disabled():
        print("\n" + "\n".join(f"{name}: {figure}" for name, figure in rows))


def picture() -> str:
    """A JPEG file of 640 x 480 in base64."""
    pixels = np.full((480, 640, 3), 200, np.uint8)
    cv2.circle(pixels, (200, 150), 80, (30, 60, 220), -1)
    return base64.b64encode(cv2.imencode(".jpg", pixels)[1].tobytes()).decode()
