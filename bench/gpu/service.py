"""The service with the bundled model on a GPU: a new image, a concept and a click over HTTP."""

import base64
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.request import Request, urlopen

import cv2
import numpy as np

from bench.gpu.speed import Figure
from harness.figures import latency
from harness.server import ServerProcess, server_process
from sam3_engine.types import ImageSize
from training.scenes import draw_scene, render

CALLS = 30


def over_http() -> list[Figure]:
    """Medians of one client. Needs the whole installation."""
    with (
        tempfile.TemporaryDirectory() as folder,
        server_process(Path(folder), model="tiny", device="cuda") as server,
    ):
        text: dict[str, object] = {"prompts": [{"type": "text", "text": "circle"}]}
        click: dict[str, object] = {"prompts": [{"points": [{"x": 70, "y": 80}]}]}
        known: dict[str, object] = {"image": _image(0)}
        kinds: dict[str, Callable[[int], tuple[str, dict[str, object]]]] = {
            "HTTP: a new image and a concept": lambda n: ("concept_segment", text | {"image": _image(n)}),
            "HTTP: a concept": lambda _: ("concept_segment", text | known),
            "HTTP: a click": lambda _: ("visual_segment", click | known),
        }
        return [
            Figure(what, 1, latency([_post(server, *make(n)) for n in range(1, CALLS)]).p50)
            for what, make in kinds.items()
        ]


def _image(seed: int) -> dict[str, str]:
    picture = render(draw_scene(seed, ImageSize(480, 640)))[..., ::-1]
    encoded = cv2.imencode(".jpg", np.ascontiguousarray(picture))[1]
    return {"type": "base64", "value": base64.b64encode(encoded.tobytes()).decode()}


def _post(server: ServerProcess, route: str, body: dict[str, object]) -> float:
    request = Request(  # to a server of our own
        f"{server.url}/sam3/{route}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    started = time.perf_counter()
    with urlopen(request, timeout=60) as answer:
        answer.read()
    return time.perf_counter() - started
