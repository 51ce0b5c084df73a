"""Annotation tools themselves, from PyPI in environments of their own, against a server with the bundled model."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import requests

from harness.exposed import settled_metric
from harness.server import ROOT, ServerProcess, server_process
from serve_app.cli.addresses import free_ports
from serve_app.http.tenants import keyfile
from tests.support.browser import chromium
from tests.support.environments import driven, environment_with
from tests.support.label_studio import region_mask
from tests.support.label_studio_browser import Annotator
from tests.support.label_studio_server import LabelStudio, label_studio
from tests.support.patience import PATIENCE_S
from tests.support.scenes import COLOURS, HEIGHT, SECOND_CIRCLE, SQUARE, WIDTH, as_json, numbered

# The first test of a tool installs it, which may take ten minutes on a busy machine.
pytestmark = pytest.mark.timeout(3600)

LEAST_IOU = 0.85
PICTURES = {f"scene-{number}.png": numbered(900 + number) for number in range(3)}
LABELS = '<Label value="Ball" sam3_phrase="red circle"/><Label value="blue square"/>'
PROMPTS = f"""<KeyPointLabels name="click" toName="image" smart="true">{LABELS}</KeyPointLabels>
  <RectangleLabels name="box" toName="image" smart="true">{LABELS}</RectangleLabels>"""
CONFIG = f"""<View>
  <Image name="image" value="$image"/>
  <BrushLabels name="mask" toName="image">{LABELS}</BrushLabels>
  <PolygonLabels name="outline" toName="image">{LABELS}</PolygonLabels>
  {PROMPTS}
</View>"""
SMALL_CONFIG = f"""<View>
  <Image name="image" value="$image"/>
  <BrushLabels name="mask" toName="image">{LABELS}</BrushLabels>
  {PROMPTS}
</View>"""


@pytest.fixture(scope="module")
def studio_port() -> int:
    return free_ports(1)[0]


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, studio_port: int) -> Iterator[LabelStudio]:
    with label_studio(tmp_path_factory.mktemp("label-studio"), studio_port) as running:
        yield running


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "keys.json"


@pytest.fixture(scope="module")
def key(key_file: Path) -> str:
    return keyfile.add(key_file, "acme")


@pytest.fixture(scope="module")
def server(
    tmp_path_factory: pytest.TempPathFactory, studio_port: int, key_file: Path, key: str
) -> Iterator[ServerProcess]:
    """All tools are switched on. The key is there when it starts."""
    origin = f"http://127.0.0.1:{studio_port}"
    settings: dict[str, Any] = {"tools": "label-studio,cvat,x-anylabeling", "tool_origins": origin}
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
    """An environment with CVAT's SDK and command."""
    packages = ("cvat-sdk==2.80.0", "cvat-cli==2.80.0")
    return environment_with(tmp_path_factory.mktemp("cvat"), *packages, beside=True)


@pytest.fixture(scope="module")
def pictures() -> Path:
    """Where pictures of the tools stay, for docs/images."""
    folder = ROOT / "reports"
    folder.mkdir(exist_ok=True)
    return folder


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


def basic(key: str) -> dict[str, str]:
    """A connection's fields for a key."""
    return {"auth_method": "BASIC_AUTH", "basic_auth_user": "any", "basic_auth_pass": key}


def centre(box: tuple[float, float, float, float]) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


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
    backend = studio.connect(project, f"{server.url}/label-studio", **basic(key))
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
    x, y = centre(SQUARE)
    click = drawn("keypointlabels", "blue square", x=100 * x / WIDTH, y=100 * y / HEIGHT, width=0.4)
    (region,) = studio.draw(backend, task, click)["result"]
    assert region["value"]["brushlabels"] == ["blue square"]
    assert iou(region_mask(region), shapes["blue"]) >= LEAST_IOU
    (region,) = studio.draw(backend, task, drawn("rectanglelabels", "Ball", **percent(SECOND_CIRCLE)))[
        "result"
    ]
    below = np.arange(HEIGHT)[:, None] >= SECOND_CIRCLE[1]
    assert iou(region_mask(region), shapes["red"] & below) >= LEAST_IOU


def test_a_smart_keypoint_in_the_browser_brings_its_region(
    studio: LabelStudio, server: ServerProcess, key: str, pictures: Path
) -> None:
    """Chromium, with suggestions accepted as they come."""
    project, tasks = studio.project(SMALL_CONFIG, {"scene.png": numbered(950)})
    studio.ask("PATCH", f"/api/projects/{project}", json={"show_collab_predictions": False})
    studio.connect(project, f"{server.url}/label-studio", **basic(key))
    with chromium() as browser:
        annotator = Annotator(browser, studio.url)
        annotator.open(project, tasks["scene.png"])
        annotator.choose(2)  # the key point; the first one is a brush
        annotator.click(4, *centre(SQUARE))  # the second label of the second control
        annotator.click(3, *centre(SECOND_CIRCLE))
        annotator.submit(pictures / "label-studio.png")
    (annotation,) = studio.ask("GET", f"/api/tasks/{tasks['scene.png']}/annotations/")
    square, ball = [region for region in annotation["result"] if region["type"] == "brushlabels"]
    assert square["value"]["brushlabels"] == ["blue square"]
    assert ball["value"]["brushlabels"] == ["Ball"]
    shapes = truth()
    assert iou(region_mask(square), shapes["blue"]) >= LEAST_IOU
    below = np.arange(HEIGHT)[:, None] >= SECOND_CIRCLE[1]
    assert iou(region_mask(ball), shapes["red"] & below) >= LEAST_IOU


def test_an_image_is_encoded_once_in_a_session_and_between_the_tools(
    studio: LabelStudio, server: ServerProcess, key: str
) -> None:
    """Label Studio's upload is opened in the other tools as well."""
    content = numbered(960)
    project, tasks = studio.project(SMALL_CONFIG, {"scene.png": content})
    backend = studio.connect(project, f"{server.url}/label-studio", **basic(key))
    before = settled_metric(server.url, "sam3_images_encoded_total")
    x, y = centre(SQUARE)
    click = drawn("keypointlabels", "blue square", x=100 * x / WIDTH, y=100 * y / HEIGHT, width=0.4)
    for clicks in ([click], [click, {**click, "is_positive": False, "value": {**click["value"], "x": 2.0}}]):
        studio.draw(backend, tasks["scene.png"], *clicks)
    image = as_json(content)
    mark = {"type": "point", "data": [x, y], "label": 1}
    sent: list[tuple[str, dict[str, Any], dict[str, str]]] = [
        ("/v1/predict", {"model": "segment_anything_3_clicks", "params": {"marks": [mark]}}, {}),
        ("/v1/predict", {"model": "segment_anything_3", "params": {"text_prompt": "red circle"}}, {}),
        (
            "/api/function_invocations",
            {"pos_points": [[x, y]], "neg_points": []},
            {"x-nuclio-function-name": "sam3-interactor"},
        ),
    ]
    session = requests.Session()
    session.headers["Token"] = key
    for path, body, headers in sent:
        body["image"] = image["value"]
        session.post(server.url + path, json=body, headers=headers, timeout=PATIENCE_S).raise_for_status()
    ours = {"image": image, "prompts": {"points": [{"x": x, "y": y, "positive": True}]}, "api_key": key}
    session.post(f"{server.url}/sam3/visual_segment", json=ours, timeout=PATIENCE_S).raise_for_status()
    assert settled_metric(server.url, "sam3_images_encoded_total") - before == 1


def test_label_studio_is_told_that_a_key_is_wrong(studio: LabelStudio, server: ServerProcess) -> None:
    project, _ = studio.project(CONFIG, dict([next(iter(PICTURES.items()))]))
    body = {"url": f"{server.url}/label-studio", "project": project, **basic("wrong")}
    with pytest.raises(AssertionError, match="authentication parameters"):
        studio.ask("POST", "/api/ml", json=body)


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
    # autodistill imports scikit-learn and roboflow, and does not ask for them.
    packages = ("autodistill==0.1.29", "roboflow", "scikit-learn", "sahi==0.12.8")
    programs = environment_with(tmp_path_factory.mktemp("hooks"), *packages, beside=True)
    found = driven(programs, "hooks_driver", server.url, key)
    assert found["predicted"] == [0, 0, 1]
    assert found["classes"] == ["ball", "box"]
    assert found["labelled"] == 1
    assert found["iou"] >= LEAST_IOU
    assert found["sliced"] == pytest.approx([190, 510], abs=3)


def test_x_anylabeling_shows_and_labels(
    tmp_path_factory: pytest.TempPathFactory, server: ServerProcess, key: str, pictures: Path
) -> None:
    """Its window without a screen, and its client class."""
    programs = environment_with(tmp_path_factory.mktemp("x-anylabeling"), "x-anylabeling-cvhub[cpu]==4.2.1")
    home = tmp_path_factory.mktemp("home")
    found = driven(programs, "x_anylabeling_driver", home, server.url, key)
    shutil.copy(home / "window.png", pictures / "x-anylabeling.png")
    models = requests.get(f"{server.url}/v1/models", headers={"Token": key}, timeout=PATIENCE_S).json()[
        "data"
    ]
    assert found["models"] == list(models)
    controls = {control["name"] for control in models["segment_anything_3"]["widgets"]}
    assert set(found["shown"]) == controls
    assert found["confidence"] == 0.5
    assert min(found["sent"], found["clicked"]) >= LEAST_IOU
    assert found["kept"] == 2  # a click leaves the shapes of the phrase
    assert found["labels"] == ["red circle", "red circle", "blue square"]
    assert min(*found["phrases"], found["example"]) >= LEAST_IOU
    assert found["unlike"] >= 1  # a model may tell two equal circles apart or not
    assert min(found["click"], found["refined"], found["box"]) >= LEAST_IOU
    assert found["replace"] == [True, False]
    models_of_a_stranger, shapes, said = found["stranger"]
    assert (models_of_a_stranger, shapes) == ({}, 0)
    assert "401" in said[0]
