"""Workflows on a whole server with the bundled model: Ray, HAProxy, the runner, the pool, one encoder, one decoder."""

import base64
import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from inference_sdk import InferenceHTTPClient
from PIL import Image

from harness.server import ServerProcess
from tests.support.patience import PATIENCE_S
from tests.support.scenes import as_json
from tests.workflows.specifications import DOCUMENTED, interactive, sam3, workflow

# The SDK advises to send keys by header, once per process.
pytestmark = pytest.mark.filterwarnings("ignore::inference_sdk.config.InferenceSDKGuidanceWarning")
SHAPES = Path(__file__).parents[2] / "docs/images/shapes.jpg"


@pytest.fixture
def server(tiny_server: ServerProcess) -> ServerProcess:
    return tiny_server


def numbered(number: int) -> dict[str, str]:
    """The drawn scene as a file that no other test sends."""
    return as_json(SHAPES.read_bytes() + b"\0" * (number + 1))


def run(server: ServerProcess, specification: Any, image: Any, **options: Any) -> requests.Response:
    body = {"specification": specification, "inputs": {"image": image}}
    return requests.post(f"{server.url}/workflows/run", json=body, timeout=PATIENCE_S, **options)


def cache(answer: requests.Response) -> str:
    parts = dict(part.strip().split(";", 1) for part in answer.headers["Server-Timing"].split(","))
    return parts["cache"].removeprefix("desc=")


def test_the_documented_specification(server: ServerProcess) -> None:
    client = InferenceHTTPClient(api_url=server.url)
    result = client.run_workflow(specification=DOCUMENTED, images={"image": str(SHAPES)}, use_cache=True)
    drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(result[0]["output"]))).convert("RGB")).astype(
        int
    )
    different = np.abs(drawn - np.asarray(Image.open(SHAPES)).astype(int)).max(axis=2) > 90
    ys, xs = np.nonzero(different)
    # The red circle of the scene is at (460, 190), 128 pixels wide; nothing else is outlined.
    assert (xs.min(), xs.max()) == (pytest.approx(397, abs=12), pytest.approx(523, abs=12))
    assert (ys.min(), ys.max()) == (pytest.approx(127, abs=12), pytest.approx(253, abs=12))


def test_the_documented_interactive_block(server: ServerProcess) -> None:
    client = InferenceHTTPClient(api_url=server.url)
    (result,) = client.run_workflow(specification=interactive(), images={"image": str(SHAPES)})
    assert "red circle" in [one["class"] for one in result["predictions"]["predictions"]]


def test_one_encode_serves_all_steps_and_all_routes(server: ServerProcess) -> None:
    image = numbered(0)
    click = {
        "type": "roboflow_core/sam3_interactive@v1",
        "name": "click",
        "images": "$inputs.image",
        "points": [{"x": 460, "y": 190, "positive": True}],
    }
    steps = [sam3(name=f"sam{number}", class_names=["red circle", "star"]) for number in range(3)]
    specification = workflow(*steps, click, found="$steps.click.predictions")
    first = run(server, specification, image)
    assert first.status_code == 200, first.text
    again = run(server, specification, image)
    direct = requests.post(
        f"{server.url}/sam3/visual_segment",
        json={"image": image, "prompts": [{"points": click["points"]}]},
        timeout=PATIENCE_S,
    )
    assert [cache(answer) for answer in (first, again, direct)] == ["miss", "hit", "hit"]
    clicked = first.json()["outputs"][0]["found"]["predictions"][0]
    polygon = [[point["x"], point["y"]] for point in clicked["points"]]
    assert polygon in direct.json()["predictions"][0]["masks"], "the same mask as the route's"


def test_large_images_come_and_go(server: ServerProcess) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1200, 1600, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    assert file.tell() > 4 * 2**20, "more than one message holds"
    blur = {"type": "roboflow_core/image_blur@v1", "name": "blur", "image": "$inputs.image"}
    answer = run(
        server, workflow(blur, first="$steps.blur.image", second="$inputs.image"), as_json(file.getvalue())
    )
    assert answer.status_code == 200, answer.text[:500]
    output = Image.open(io.BytesIO(base64.b64decode(answer.json()["outputs"][0]["first"]["value"])))
    assert output.size == (1600, 1200)


def test_many_runs_at_once(server: ServerProcess) -> None:
    specification = workflow(sam3(), found="$steps.sam.predictions")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: run(server, specification, numbered(number % 4)), range(24)))
    assert {answer.status_code for answer in answers} == {200}
    assert {len(answer.json()["outputs"][0]["found"]["predictions"]) for answer in answers} == {1}


def test_the_other_routes(server: ServerProcess) -> None:
    versions = requests.get(f"{server.url}/workflows/execution_engine/versions", timeout=PATIENCE_S)
    assert versions.json()["versions"][0].startswith("1.")
    assert requests.post(f"{server.url}/workflows/validate", json=DOCUMENTED, timeout=PATIENCE_S).json() == {
        "status": "ok"
    }
    blocks = requests.get(f"{server.url}/workflows/blocks/describe", timeout=PATIENCE_S).json()["blocks"]
    assert "roboflow_core/sam3@v3" in [block["manifest_type_identifier"] for block in blocks]
    assert "/workflows/run" in requests.get(f"{server.url}/openapi.json", timeout=PATIENCE_S).json()["paths"]
