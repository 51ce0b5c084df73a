"""Annotation tools themselves, from PyPI in environments of their own, against a server with the bundled model."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from harness.server import ROOT, ServerProcess, server_process
from serve_app.cli.addresses import free_ports
from serve_app.http.tenants import keyfile
from tests.support.label_studio import region_mask
from tests.support.label_studio_server import LabelStudio, label_studio
from tests.support.scenes import COLOURS, HEIGHT, SECOND_CIRCLE, SQUARE, WIDTH, numbered

LEAST_IOU = 0.85
PICTURES = {f"scene-{number}.png": numbered(900 + number) for number in range(3)}
LABELS = '<Label value="Ball" sam3_phrase="red circle"/><Label value="blue square"/>'
CONFIG = f"""<View>
  <Image name="image" value="$image"/>
  <BrushLabels name="mask" toName="image">{LABELS}</BrushLabels>
  <PolygonLabels name="outline" toName="image">{LABELS}</PolygonLabels>
  <KeyPointLabels name="click" toName="image" smart="true">{LABELS}</KeyPointLabels>
  <RectangleLabels name="box" toName="image" smart="true">{LABELS}</RectangleLabels>
</View>"""


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudio]:
    with label_studio(tmp_path_factory.mktemp("label-studio")) as running:
        yield running


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "keys.json"


@pytest.fixture(scope="module")
def key(key_file: Path) -> str:
    return keyfile.add(key_file, "acme")


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, studio: LabelStudio, key_file: Path, key: str
) -> Iterator[ServerProcess]:
    settings: dict[str, Any] = {"tools": "label-studio", "tool_origins": studio.url}
    with server_process(
        tmp_path_factory.mktemp("server"),
        model="tiny",
        api_keys_file=str(key_file),
        port=str(free_ports(1)[0]),
        **settings,
    ) as running:
        yield running


@pytest.fixture(scope="module")
def cvat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with CVAT's SDK and command."""
    return python_with(tmp_path_factory.mktemp("cvat"), "cvat-sdk==2.80.0", "cvat-cli==2.80.0")


def truth() -> dict[str, npt.NDArray[np.bool_]]:
    """The pixels of the scene's shapes, by colour: numbered scenes differ in two pixels of the ground."""
    from tests.support.scenes import scene

    pixels = np.asarray(scene())
    return {name: (pixels == colour).all(axis=2) for name, colour in COLOURS.items()}


def iou(one: npt.NDArray[np.bool_], other: npt.NDArray[np.bool_]) -> float:
    return float((one & other).sum() / (one | other).sum())


def drawn(kind: str, label: str, **value: float) -> dict[str, Any]:
    """A region of a smart tool, in percent."""
    return {
        "id": "one",
        "from_name": "click" if kind == "keypointlabels" else "box",
        "to_name": "image",
        "type": kind,
        "original_width": WIDTH,
        "original_height": HEIGHT,
        "image_rotation": 0,
        "is_positive": True,
        "value": {**value, kind: [label], "labels": [label]},
    }


def percent(box: tuple[float, float, float, float]) -> dict[str, float]:
    x0, y0, x1, y1 = box
    return {
        "x": 100 * x0 / WIDTH,
        "y": 100 * y0 / HEIGHT,
        "width": 100 * (x1 - x0) / WIDTH,
        "height": 100 * (y1 - y0) / HEIGHT,
    }


def test_label_studio_suggests_and_answers_smart_tools(
    studio: LabelStudio, server: ServerProcess, key: str
) -> None:
    """Its uploaded images are fetched with its token; masks are compared with what was drawn."""
    project, tasks = studio.project(CONFIG, PICTURES)
    backend = studio.connect(
        project,
        f"{server.url}/label-studio",
        auth_method="BASIC_AUTH",
        basic_auth_user="any",
        basic_auth_pass=key,
    )
    (listed,) = studio.ask("GET", f"/api/ml?project={project}")
    assert (listed["state"], listed["error_message"]) == ("CO", None), listed
    studio.suggest(project)
    shapes = truth()
    for task in tasks.values():
        (prediction,) = studio.predictions(task)
        assert prediction["model_version"] == "sam3-serve/tiny"
        regions = prediction["result"]
        assert sorted(region["from_name"] for region in regions) == ["mask"] * 3 + ["outline"] * 3
        for name in ("mask", "outline"):
            kind = {"mask": "brushlabels", "outline": "polygonlabels"}[name]
            mine = [region for region in regions if region["from_name"] == name]
            square = [one for one in mine if one["value"][kind] == ["blue square"]]
            balls = [one for one in mine if one["value"][kind] == ["Ball"]]
            assert iou(region_mask(square[0]), shapes["blue"]) >= LEAST_IOU
            assert iou(np.logical_or(*map(region_mask, balls)), shapes["red"]) >= LEAST_IOU
    task = tasks["scene-0.png"]
    x, y = (SQUARE[0] + SQUARE[2]) / 2, (SQUARE[1] + SQUARE[3]) / 2
    click = drawn("keypointlabels", "blue square", x=100 * x / WIDTH, y=100 * y / HEIGHT, width=0.4)
    (region,) = studio.draw(backend, task, click)["result"]
    assert region["value"]["brushlabels"] == ["blue square"]
    assert iou(region_mask(region), shapes["blue"]) >= LEAST_IOU
    (region,) = studio.draw(backend, task, drawn("rectanglelabels", "Ball", **percent(SECOND_CIRCLE)))[
        "result"
    ]
    below = np.arange(HEIGHT)[:, None] >= SECOND_CIRCLE[1]
    assert iou(region_mask(region), shapes["red"] & below) >= LEAST_IOU


def test_label_studio_is_told_that_a_key_is_wrong(studio: LabelStudio, server: ServerProcess) -> None:
    project, _ = studio.project(CONFIG, dict([next(iter(PICTURES.items()))]))
    body = {
        "url": f"{server.url}/label-studio",
        "project": project,
        "auth_method": "BASIC_AUTH",
        "basic_auth_user": "any",
        "basic_auth_pass": "wrong",
    }
    with pytest.raises(AssertionError, match="authentication parameters"):
        studio.ask("POST", "/api/ml", json=body)


def python_with(folder: Path, *packages: str) -> Path:
    """A Python that has these packages, and those of this environment."""
    subprocess.run([sys.executable, "-m", "venv", "env"], cwd=folder, check=True)
    there = [path for path in sys.path if path.endswith("site-packages")]
    (site,) = (folder / "env/lib").glob("python*/site-packages")
    (site / "there.pth").write_text("\n".join(there) + "\n")
    python = folder / "env/bin/python"
    done = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", *packages], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return python


def driven(python: Path, driver: str, *words: str) -> Any:
    """What a driver of `tests/support` prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [python, "-m", f"tests.support.{driver}", *words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("remote", [True, False])
def test_cvats_own_drivers_run_our_functions(
    cvat: Path, server: ServerProcess, key: str, remote: bool
) -> None:
    """`cvat-cli task auto-annotate` and its agent, with the server or with the model in their process."""
    found = driven(cvat, "cvat_driver", *((server.url, key) if remote else ()))
    assert found["fields"] == {
        "min_pos_points": 0,
        "min_neg_points": 0,
        "startswith_box_optional": True,
    }
    assert found["labels"] == [70, 70, 71]
    assert found["types"] == ["mask"]
    assert found["square"] >= LEAST_IOU
    assert found["click"] >= LEAST_IOU
    assert found["same"]
    assert len(found["polygons"]) == 3
    assert found["strict"] == 0


def test_autodistill_and_sahi_run_our_models(
    tmp_path_factory: pytest.TempPathFactory, server: ServerProcess, key: str
) -> None:
    # autodistill imports scikit-learn and does not ask for it.
    packages = ("autodistill==0.1.29", "scikit-learn", "sahi==0.12.8")
    python = python_with(tmp_path_factory.mktemp("hooks"), *packages)
    found = driven(python, "hooks_driver", server.url, key)
    assert found["predicted"] == [0, 0, 1]
    assert found["classes"] == ["ball", "box"]
    assert found["labelled"] == 1
    assert found["iou"] >= LEAST_IOU
    assert found["sliced"] == pytest.approx([190, 510], abs=3)
