"""Annotation tools themselves, from PyPI in environments of their own, against a server with the bundled model."""

import io
import json
import shutil
from collections.abc import Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import requests

from harness.exposed import QUIET_S, metric, settled
from harness.machine import this_machine
from harness.server import ROOT, ServerProcess, server_process
from sam3_engine.rle import from_rle
from serve_app.cli.addresses import free_ports
from serve_app.http.tenants import keyfile
from tests.support.browser import chromium
from tests.support.environments import driven, environment_with
from tests.support.label_studio import click, rectangle, region_mask
from tests.support.label_studio_browser import Annotator
from tests.support.label_studio_server import VERSION, LabelStudio, label_studio
from tests.support.patience import PATIENCE_S
from tests.support.scenes import (
    HEIGHT,
    SECOND_CIRCLE,
    SQUARE,
    WIDTH,
    as_json,
    box_iou,
    centre,
    drawn,
    mask_iou,
    numbered,
)
from tests.support.tool_table import Driven, report, timed

pytestmark = [
    # The first test of a tool installs it, which may take ten minutes on a busy machine.
    pytest.mark.timeout(3600),
    # pycocotools.mask.decode knows no numpy 2 yet.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
]

LEAST_IOU = 0.85
RED, BLUE = drawn("red"), drawn("blue")
BELOW = RED & (np.arange(HEIGHT)[:, None] >= SECOND_CIRCLE[1])
"""The second circle."""
Clicks = list[tuple[float, float, bool]]
"""x and y in pixels, and whether the object is there."""
PICTURES = {f"scene-{number}.png": numbered(900 + number) for number in range(3)}
LABELS = '<Label value="Ball" sam3_phrase="red circle"/><Label value="blue square"/>'
PROMPTS = f"""<KeyPointLabels name="click" toName="image" smart="true">{LABELS}</KeyPointLabels>
  <RectangleLabels name="box" toName="image" smart="true">{LABELS}</RectangleLabels>"""
CONFIG = f"""<View>
  <Image name="image" value="$image"/>
  <BrushLabels name="mask" toName="image" sam3_model="sam3/sam3_final">{LABELS}</BrushLabels>
  <PolygonLabels name="outline" toName="image">{LABELS}</PolygonLabels>
  {PROMPTS}
</View>"""
SMALL_CONFIG = f"""<View>
  <Image name="image" value="$image"/>
  <BrushLabels name="mask" toName="image" sam3_model="sam3/sam3_final">{LABELS}</BrushLabels>
  {PROMPTS}
</View>"""


@pytest.fixture(scope="module")
def rows() -> Iterator[list[Driven]]:
    """What each test drove: a table at the end."""
    found: list[Driven] = []
    yield found
    print(f"\n{this_machine().line()}\n\n{report(found)}\n")


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


def basic(key: str) -> dict[str, str]:
    """A connection's fields for a key."""
    return {"auth_method": "BASIC_AUTH", "basic_auth_user": "any", "basic_auth_pass": key}


def test_label_studio_suggests_and_answers_smart_tools(
    studio: LabelStudio, server: ServerProcess, key: str, rows: list[Driven]
) -> None:
    """Its uploaded images are fetched with its token; masks are compared with what was drawn."""
    project, tasks = studio.project(CONFIG, PICTURES)
    backend = studio.connect(project, f"{server.url}/label-studio", **basic(key))
    (listed,) = studio.ask("GET", f"/api/ml?project={project}")
    assert (listed["state"], listed["error_message"]) == ("CO", None), listed
    studio.suggest(project)
    ious = []
    for task in tasks.values():
        (prediction,) = studio.predictions(task)
        assert prediction["model_version"] == "sam3-serve/tiny"
        regions = prediction["result"]
        assert sorted(region["from_name"] for region in regions) == ["mask"] * 3 + ["outline"] * 3
        for name in ("mask", "outline"):
            kind = {"mask": "brushlabels", "outline": "polygonlabels"}[name]
            mine = [region for region in regions if region["from_name"] == name]
            (square,) = [region_mask(one) for one in mine if one["value"][kind] == ["blue square"]]
            balls = [region_mask(one) for one in mine if one["value"][kind] == ["Ball"]]
            ious += [mask_iou(square, BLUE), mask_iou(np.logical_or(*balls), RED)]
    assert min(ious) >= LEAST_IOU
    rows.append(Driven("Label Studio", VERSION, "its API: predictions of uploaded images", min(ious)))
    (task,) = studio.upload(project, {"fresh.png": numbered(910)}).values()
    on = click(*centre(SQUARE), "blue square")
    beside = click(5, 5, "blue square", is_positive=False)
    seconds, ious = [], []
    for clicks in ([on], [on, beside]):
        answer, took = timed(partial(studio.draw, backend, task, *clicks))
        (region,) = answer["result"]
        assert region["value"]["brushlabels"] == ["blue square"]
        ious.append(mask_iou(region_mask(region), BLUE))
        seconds.append(took)
    (region,) = studio.draw(backend, task, rectangle(SECOND_CIRCLE))["result"]
    ious.append(mask_iou(region_mask(region), BELOW))
    assert min(ious) >= LEAST_IOU
    rows.append(Driven("Label Studio", VERSION, "its API: smart keypoints and rectangle", min(ious), seconds))


def test_label_studios_own_converter_reads_the_regions(
    studio: LabelStudio, server: ServerProcess, key: str, rows: list[Driven]
) -> None:
    """Predictions are submitted as they are, and exported."""

    def exported(kind: str, *tags: str) -> dict[str, bytes]:
        tools = "".join(f'<{tag} name="{tag.lower()}" toName="image">{LABELS}</{tag}>' for tag in tags)
        config = f'<View><Image name="image" value="$image"/>{tools}</View>'
        project, tasks = studio.project(config, {"scene.png": numbered(930)})
        studio.connect(project, f"{server.url}/label-studio", **basic(key))
        studio.suggest(project)
        studio.accept(tasks["scene.png"])
        return studio.export(project, kind)

    brushes = {
        name: np.load(io.BytesIO(content)) > 0
        for name, content in exported("BRUSH_TO_NUMPY", "BrushLabels").items()
    }
    balls = [mask for name, mask in brushes.items() if "Ball" in name]
    (square,) = [mask for name, mask in brushes.items() if "blue square" in name]
    ious = [mask_iou(square, BLUE), mask_iou(np.logical_or.reduce(balls), RED)]

    coco = json.loads(exported("COCO", "PolygonLabels", "RectangleLabels")["result.json"])
    assert [kind["name"] for kind in coco["categories"]] == ["Ball", "blue square"]
    of_label = [[one for one in coco["annotations"] if one["category_id"] == label] for label in (0, 1)]
    for found, truth in zip(of_label, (RED, BLUE), strict=True):
        polygons = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
        for one in found:
            for part in one["segmentation"]:
                corners = np.round(np.array(part).reshape(-1, 2) - 0.5).astype(np.int32)
                cv2.fillPoly(polygons, [corners], 1)
        ious.append(mask_iou(polygons > 0, truth))
    (box,) = [one["bbox"] for one in of_label[1] if not one["segmentation"]]
    ious.append(box_iou((box[0], box[1], box[0] + box[2], box[1] + box[3]), SQUARE))
    assert min(ious) >= LEAST_IOU
    rows.append(Driven("Label Studio", VERSION, "its converter: brushes, polygons, boxes", min(ious)))


def test_a_smart_keypoint_in_the_browser_brings_its_region(
    studio: LabelStudio, server: ServerProcess, key: str, pictures: Path, rows: list[Driven]
) -> None:
    """Chromium, with suggestions accepted as they come."""
    project, tasks = studio.project(SMALL_CONFIG, {"scene.png": numbered(950)})
    studio.ask("PATCH", f"/api/projects/{project}", json={"show_collab_predictions": False})
    studio.connect(project, f"{server.url}/label-studio", **basic(key))
    with chromium() as browser:
        annotator = Annotator(browser, studio.url)
        annotator.open(project, tasks["scene.png"])
        annotator.choose(2)  # the key point; the first one is a brush
        seconds = [
            annotator.click(4, *centre(SQUARE)),  # the second label of the second control
            annotator.click(3, *centre(SECOND_CIRCLE)),
        ]
        annotator.submit(pictures / "label-studio.png")
    (annotation,) = studio.ask("GET", f"/api/tasks/{tasks['scene.png']}/annotations/")
    square, ball = [region for region in annotation["result"] if region["type"] == "brushlabels"]
    assert square["value"]["brushlabels"] == ["blue square"]
    assert ball["value"]["brushlabels"] == ["Ball"]
    found = min(mask_iou(region_mask(square), BLUE), mask_iou(region_mask(ball), BELOW))
    assert found >= LEAST_IOU
    rows.append(Driven("Label Studio", VERSION, "its page in Chromium: smart keypoint", found, seconds))


def test_clicks_over_http_are_measured_beside_the_tools(
    server: ServerProcess, key: str, rows: list[Driven]
) -> None:
    """Our own route, and CVAT's function as its server calls it."""
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {key}"

    def ask(path: str, body: dict[str, Any], **headers: str) -> Any:
        answer = session.post(server.url + path, json=body, headers=headers, timeout=PATIENCE_S)
        answer.raise_for_status()
        return answer.json()

    def ours(content: dict[str, str], clicks: Clicks) -> Any:
        points = [{"x": x, "y": y, "positive": positive} for x, y, positive in clicks]
        body = {"image": content, "format": "rle", "prompts": {"points": points}}
        (found,) = ask("/sam3/visual_segment", body)["predictions"]
        return from_rle(found["masks"])

    def cvats(content: dict[str, str], clicks: Clicks) -> Any:
        pos, neg = ([[x, y] for x, y, positive in clicks if positive is which] for which in (True, False))
        body = {"image": content["value"], "pos_points": pos, "neg_points": neg, "obj_bbox": []}
        function = {"x-nuclio-function-name": "sam3-interactor"}
        return np.array(ask("/api/function_invocations", body, **function)["mask"], dtype=np.bool_)

    once = [(*centre(SQUARE), True)]
    ours(as_json(numbered(920)), once)  # the first request of a server is slow
    routes = (
        ("sam3-serve", version("sam3-serve"), "/sam3/visual_segment over HTTP", ours),
        ("CVAT", "2.x", "no tool: its server's calls over HTTP", cvats),
    )
    for number, (tool, release, what, route) in enumerate(routes, 921):
        content = as_json(numbered(number))
        (first, took), (second, again) = [
            timed(partial(route, content, clicks)) for clicks in (once, [*once, (5.0, 5.0, False)])
        ]
        found = min(mask_iou(first, BLUE), mask_iou(second, BLUE))
        assert found >= LEAST_IOU
        rows.append(Driven(tool, release, what, found, (took, again)))


def test_an_image_is_encoded_once_in_a_session_and_between_the_tools(
    studio: LabelStudio, server: ServerProcess, key: str
) -> None:
    """Label Studio's upload is opened in the other tools as well."""
    content = numbered(960)
    project, tasks = studio.project(SMALL_CONFIG, {"scene.png": content, "other.png": numbered(961)})
    backend = studio.connect(project, f"{server.url}/label-studio", **basic(key))

    def encoded(more_than: float) -> float:
        """The images that the server has encoded, once it has reported some more."""
        look = partial(metric, server.url, "sam3_images_encoded_total")
        return settled(look, QUIET_S, PATIENCE_S, lambda found: found > more_than)

    x, y = centre(SQUARE)
    on, beside = click(x, y, "blue square"), click(5, 5, "blue square", is_positive=False)
    studio.draw(backend, tasks["other.png"], on)
    before = encoded(0)
    for clicks in ([on], [on, beside]):
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
        answer = session.post(server.url + path, json=body, headers=headers, timeout=PATIENCE_S)
        assert "cache;desc=hit" in answer.headers["server-timing"], answer.text
    ours = {"image": image, "prompts": {"points": [{"x": x, "y": y, "positive": True}]}, "api_key": key}
    answer = session.post(f"{server.url}/sam3/visual_segment", json=ours, timeout=PATIENCE_S)
    assert "cache;desc=hit" in answer.headers["server-timing"], answer.text
    assert encoded(before) - before == 1


def test_label_studio_is_told_that_a_key_is_wrong(studio: LabelStudio, server: ServerProcess) -> None:
    project, _ = studio.project(CONFIG, dict([next(iter(PICTURES.items()))]))
    body = {"url": f"{server.url}/label-studio", "project": project, **basic("wrong")}
    with pytest.raises(AssertionError, match="authentication parameters"):
        studio.ask("POST", "/api/ml", json=body)


def test_cvats_drivers_make_the_picture_of_the_docs(
    cvat: Path, server: ServerProcess, key: str, pictures: Path
) -> None:
    file = pictures / "cvat.webp"
    found = driven(cvat, "scripts.cvat_picture", file, server.url, key)
    assert found["shapes"] >= 4  # docs/images/shapes.jpg has two stars and three squares
    assert file.stat().st_size > 0


@pytest.mark.parametrize("remote", [True, False])
def test_cvats_own_drivers_run_our_functions(
    cvat: Path, server: ServerProcess, key: str, remote: bool, rows: list[Driven]
) -> None:
    """`cvat-cli task auto-annotate` and its agent, with the server or with the model in their process."""
    found = driven(cvat, "tests.support.cvat_driver", *((server.url, key) if remote else ()))
    assert found["fields"] == {
        "min_pos_points": 0,
        "min_neg_points": 0,
        "startswith_box_optional": True,
    }
    assert found["labels"] == [70, 70, 71]
    assert found["types"] == ["mask"]
    ious = found["square"], found["click"], found["refined"]
    assert min(ious) >= LEAST_IOU
    assert found["same"]
    what = f"its drivers, {'our server' if remote else 'the model in its process'}"
    rows.append(Driven("cvat-cli, cvat-sdk", "2.80.0", what, min(ious), found["seconds"]))
    tracked = found["tracking"]
    assert tracked["fields"] == {"supported_shape_types": ["polygon", "rectangle"]}
    assert tracked["iou"] >= LEAST_IOU
    what = f"its agent's tracker, {'our server' if remote else 'the model in its process'}"
    rows.append(Driven("cvat-cli, cvat-sdk", "2.80.0", what, tracked["iou"]))
    assert len(found["polygons"]) == 3
    assert found["strict"] == 0


def test_autodistill_and_sahi_run_our_models(
    tmp_path_factory: pytest.TempPathFactory, server: ServerProcess, key: str, rows: list[Driven]
) -> None:
    # autodistill imports scikit-learn and roboflow, and does not ask for them.
    packages = ("autodistill==0.1.29", "roboflow", "scikit-learn", "sahi==0.12.8")
    programs = environment_with(tmp_path_factory.mktemp("hooks"), *packages, beside=True)
    found = driven(programs, "tests.support.hooks_driver", server.url, key)
    assert found["predicted"] == [0, 0, 1]
    assert found["classes"] == ["ball", "box"]
    assert found["labelled"] == 1
    assert found["iou"] >= LEAST_IOU
    rows.append(
        Driven("autodistill, SAHI", "0.1.29, 0.12.8", "a base model, a detection model", found["iou"])
    )
    assert found["sliced"] == pytest.approx([190, 510], abs=3)


def test_x_anylabeling_shows_and_labels(
    tmp_path_factory: pytest.TempPathFactory,
    server: ServerProcess,
    key: str,
    pictures: Path,
    rows: list[Driven],
) -> None:
    """Its window without a screen, and its client class."""
    programs = environment_with(tmp_path_factory.mktemp("x-anylabeling"), "x-anylabeling-cvhub[cpu]==4.2.1")
    home = tmp_path_factory.mktemp("home")
    found = driven(programs, "tests.support.x_anylabeling_driver", home, server.url, key)
    shutil.copy(home / "window.png", pictures / "x-anylabeling.png")
    models = requests.get(f"{server.url}/v1/models", headers={"Token": key}, timeout=PATIENCE_S).json()[
        "data"
    ]
    assert found["models"] == list(models)
    controls = {control["name"] for control in models["segment_anything_3"]["widgets"]}
    assert set(found["shown"]) == controls
    assert found["confidence"] == 0.5
    assert found["kept"] == 2  # a click leaves the shapes of the phrase
    assert found["labels"] == ["red circle", "red circle", "blue square"]
    assert found["unlike"] >= 1  # a model may tell two equal circles apart or not
    window = min(found["sent"], found["clicked"])
    client = min(*found["phrases"], *(found[name] for name in ("example", "click", "refined", "box")))
    assert min(window, client) >= LEAST_IOU
    rows.append(Driven("X-AnyLabeling", "4.2.1", "its window: a phrase, a click", window))
    rows.append(Driven("X-AnyLabeling", "4.2.1", "its client class", client, found["seconds"]))
    video = found["video"]
    assert (video["labels"], video["ended"], video["said"]) == (["red circle"], True, [])
    assert video["iou"] >= LEAST_IOU
    what = "its client class: a phrase and clicks through a video"
    rows.append(Driven("X-AnyLabeling", "4.2.1", what, video["iou"], video["seconds"]))
    assert found["replace"] == [True, False]
    models_of_a_stranger, shapes, said = found["stranger"]
    assert (models_of_a_stranger, shapes) == ({}, 0)
    assert "401" in said[0]
