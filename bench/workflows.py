"""Measures the cost of a workflow beyond the model, next to the direct route.

    python -m bench.workflows

Starts a server with the bundled model. One client sends each kind of request in turn, for one known image of 640 x 480.
"""

import argparse
import base64
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests

from harness.figures import latency, ms, table
from harness.machine import ROOT, this_machine
from harness.server import server_process

SHAPES = ROOT / "docs/images/shapes.jpg"
PHRASE = "circle"


def workflow(*steps: dict[str, Any], output: str) -> dict[str, Any]:
    """A definition with one output."""
    return {
        "version": "1.0",
        "inputs": [{"type": "InferenceImage", "name": "image"}],
        "steps": list(steps),
        "outputs": [{"type": "JsonField", "name": "output", "selector": output}],
    }


def sam(name: str) -> dict[str, Any]:
    """A SAM 3 step."""
    return {"type": "roboflow_core/sam3@v1", "name": name, "images": "$inputs.image", "class_names": PHRASE}


DRAWN = {
    "type": "roboflow_core/polygon_visualization@v1",
    "name": "drawn",
    "image": "$inputs.image",
    "predictions": "$steps.sam.predictions",
}
PREDICTIONS = "$steps.sam.predictions"
CASES: dict[str, dict[str, Any]] = {
    "workflow without a model step": workflow(
        {"type": "roboflow_core/relative_statoic_crop@v1", "name": "crop", "images": "$inputs.image"}
        | {"x_center": 0.5, "y_center": 0.5, "width": 0.1, "height": 0.1},
        output="$steps.crop.crops",
    ),
    "workflow, one SAM 3 step": workflow(sam("sam"), output=PREDICTIONS),
    "workflow, SAM 3 and outlines drawn": workflow(sam("sam"), DRAWN, output="$steps.drawn.image"),
    "workflow, four SAM 3 steps": workflow(*map(sam, ("sam", "b", "c", "d")), output=PREDICTIONS),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=200)
    count = parser.parse_args().requests
    image = {"type": "base64", "value": base64.b64encode(SHAPES.read_bytes()).decode()}
    with (
        tempfile.TemporaryDirectory() as folder,
        server_process(Path(folder), model="tiny", workflows="true") as server,
        requests.Session() as session,
    ):

        def post(route: str, body: dict[str, Any]) -> None:
            session.post(server.url + route, json=body, timeout=60).raise_for_status()

        def run(specification: dict[str, Any]) -> Callable[[], None]:
            return lambda: post(
                "/workflows/run", {"specification": specification, "inputs": {"image": image}}
            )

        calls = {
            "/sam3/concept_segment": lambda: post(
                "/sam3/concept_segment", {"image": image, "prompts": [{"type": "text", "text": PHRASE}]}
            ),
            **{name: run(specification) for name, specification in CASES.items()},
        }
        seconds: dict[str, list[float]] = {name: [] for name in calls}
        for number in range(count + 20):
            for name, call in calls.items():  # in turn, so that a disturbance affects all of them
                started = time.perf_counter()
                call()
                if number >= 20:
                    seconds[name].append(time.perf_counter() - started)
    direct = latency(seconds["/sam3/concept_segment"]).p50
    rows = []
    for name, series in seconds.items():
        found = latency(series)
        rows.append([name, ms(min(series)), ms(found.p50), ms(found.p90), ms(found.p50 - direct)])
    print(this_machine().line())
    print(
        table(
            ["640 x 480, image known, one client", "fastest", "p50", "p90", "p50 beyond the direct route"],
            rows,
        )
    )


if __name__ == "__main__":
    main()
