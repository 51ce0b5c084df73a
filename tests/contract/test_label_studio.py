"""The ML backend of Label Studio, asked as version 1.23.2 asks it (recorded from its `ml/api_connector.py`)."""

import asyncio
import http.server
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import requests

from serve_app.http.tenants import keyfile
from tests.contract.conftest import Client, ServerFactory, own_server
from tests.support import scenes
from tests.support.fake_segmenter import FakeSegmenter
from tests.support.label_studio import click, rectangle, region_mask
from tests.support.patience import PATIENCE_S
from tests.support.plain_server import plain_server
from tests.support.scenes import (
    CIRCLE,
    HEIGHT,
    SECOND_CIRCLE,
    SQUARE,
    WIDTH,
    as_json,
    encoded,
    mask_iou,
    numbered,
    scene,
)

# pycocotools.mask.decode knows no numpy 2 yet.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)

PICTURE = encoded(scene())
PROJECT = "7.1700000000"
TOKEN = "0123456789abcdef"
LABELS = '<Label value="Ball" sam3_phrase="red circle"/><Label value="blue square"/>'
SMART = '<KeyPointLabels name="click" toName="image" smart="true"><Label value="Ball"/></KeyPointLabels>'


def config(*tags: str, labels: str = LABELS) -> str:
    """A configuration with a tool of each tag, called by the tag in lower case."""
    tools = [f'<{tag} name="{tag.lower()}" toName="image">{labels}</{tag}>' for tag in tags]
    return f'<View><Image name="image" value="$image"/>{"".join(tools)}{SMART}</View>'


BRUSH = config("BrushLabels")


def data_url(content: bytes) -> str:
    return "data:image/png;base64," + as_json(content)["value"]


def task(number: int, image: Any) -> dict[str, Any]:
    return {"id": number, "data": {"image": image}, "meta": {}, "predictions": [], "annotations": []}


def asked(
    *images: Any, label_config: str = BRUSH, drawn: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    """The body of /predict."""
    context = None if drawn is None else {"result": drawn}
    return {
        "tasks": [task(number, image) for number, image in enumerate(images, 1)],
        "project": PROJECT,
        "label_config": label_config,
        "params": {"login": None, "password": None, "context": context},
    }


def predict(url: str, body: dict[str, Any], **options: Any) -> Any:
    return Client(url).post("/label-studio/predict", body, **options)


RED, BLUE = scenes.drawn("red"), scenes.drawn("blue")
TOP = np.arange(HEIGHT)[:, None] < SECOND_CIRCLE[1]
MASKS = {"first": RED & TOP, "second": RED & ~TOP, "square": BLUE}
"""The pixels of the scene's shapes."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with own_server(tools="label-studio") as address:
        yield address


def test_the_routes_are_there_only_where_they_are_switched_on(server: str, url: str) -> None:
    assert requests.get(f"{server}/label-studio/health", timeout=PATIENCE_S).status_code == 404
    paths = requests.get(f"{url}/openapi.json", timeout=PATIENCE_S).json()["paths"]
    assert {path for path in paths if "label-studio" in path} == {
        f"/label-studio/{name}" for name in ("health", "setup", "predict", "webhook", "versions")
    }


def test_connecting_a_project(url: str) -> None:
    """The requests of Label Studio's `POST /api/ml`, in its order: health, setup, versions."""
    assert requests.get(f"{url}/label-studio/health", timeout=PATIENCE_S).json()["status"] == "UP"
    body = {
        "project": PROJECT,
        "schema": BRUSH,
        "hostname": "https://labels.invalid",
        "access_token": TOKEN,
        "extra_params": None,
    }
    version = Client(url).post("/label-studio/setup", body)["model_version"]
    assert version == "sam3-serve/tiny"
    versions = requests.get(f"{url}/label-studio/versions", timeout=PATIENCE_S)
    assert versions.json() == {"versions": [version]}
    Client(url).post("/label-studio/webhook", {"action": "START_TRAINING", "project": {"id": 7}}, expect=201)


def test_health_tells_that_the_model_is_not_ready(start_server: ServerFactory) -> None:
    with start_server(FakeSegmenter(is_ready=False), tools="label-studio") as address:
        answer = requests.get(f"{address}/label-studio/health", timeout=PATIENCE_S)
    assert (answer.status_code, set(answer.json())) == (503, {"error", "detail"})


def test_health_answers_though_the_model_does_not(start_server: ServerFactory) -> None:
    """Label Studio waits a second, and takes no answer for a server that is away."""

    class Silent(FakeSegmenter):
        async def ready(self) -> bool:
            await asyncio.Event().wait()
            return True

    with start_server(Silent(), tools="label-studio") as address:
        answer = requests.get(f"{address}/label-studio/health", timeout=PATIENCE_S)
    assert (answer.status_code, set(answer.json())) == (503, {"error", "detail"})


@pytest.mark.parametrize(
    ("tag", "least"), [("BrushLabels", 1.0), ("PolygonLabels", 0.97), ("RectangleLabels", 0.7)]
)
def test_suggestions_are_every_instance_of_every_label(url: str, tag: str, least: float) -> None:
    answer = predict(url, asked(data_url(PICTURE), label_config=config(tag)))
    (prediction,) = answer["results"]
    kind = tag.lower()
    expected = [("Ball", "first"), ("Ball", "second"), ("blue square", "square")]
    assert len(prediction["result"]) == len(expected)
    for region, (label, name) in zip(prediction["result"], expected, strict=True):
        assert (region["from_name"], region["to_name"], region["type"]) == (kind, "image", kind)
        assert (region["original_width"], region["original_height"]) == (WIDTH, HEIGHT)
        assert region["value"][kind] == [label]
        assert mask_iou(region_mask(region), MASKS[name]) >= least
    assert 0 < prediction["score"] <= 1
    assert prediction["model_version"] == answer["model_version"] == "sam3-serve/tiny"


def test_several_tools_get_a_region_each(url: str) -> None:
    answer = predict(url, asked(data_url(PICTURE), label_config=config("BrushLabels", "RectangleLabels")))
    kinds = [region["type"] for region in answer["results"][0]["result"]]
    assert kinds == ["brushlabels"] * 3 + ["rectanglelabels"] * 3


def test_more_labels_than_a_request_of_the_model_holds(url: str) -> None:
    labels = "".join(f'<Label value="no such {number}"/>' for number in range(40)) + '<Label value="red"/>'
    regions = predict(url, asked(data_url(PICTURE), label_config=config("BrushLabels", labels=labels)))
    assert [one["value"]["brushlabels"] for one in regions["results"][0]["result"]] == [["red"], ["red"]]


def test_a_threshold_of_the_tool(url: str) -> None:
    strict = BRUSH.replace('name="brushlabels"', 'name="brushlabels" model_score_threshold="0.895"')
    (prediction,) = predict(url, asked(data_url(PICTURE), label_config=strict))["results"]
    assert len(prediction["result"]) == 2  # the best of each label


def test_many_tasks_are_answered_in_order(url: str) -> None:
    """More than one list of images may hold on the other routes."""
    pictures = [data_url(numbered(700 + number)) for number in range(18)]
    results = predict(url, asked(*pictures))["results"]
    assert [len(one["result"]) for one in results] == [3] * 18


def test_a_task_whose_image_cannot_be_read_has_no_prediction_and_stops_no_other(url: str) -> None:
    """An empty list: Label Studio keeps no prediction, and asks again later."""
    bad = [data_url(b"no image"), None, "/data/upload/1/a.png", "https://xn--a/a.png"]
    results = predict(url, asked(bad[0], data_url(PICTURE), *bad[1:]))["results"]
    assert [bool(one) for one in results] == [False, True, False, False, False]
    assert "not an image" in predict(url, asked(bad[0]), expect=400)["error"]


def test_a_click_is_answered_by_the_shape_under_it(url: str) -> None:
    (prediction,) = predict(url, asked(data_url(PICTURE), drawn=[click(230, 70)]))["results"]
    (region,) = prediction["result"]
    assert region["from_name"] == "brushlabels"
    assert region["value"]["brushlabels"] == ["Ball"]
    assert mask_iou(region_mask(region), MASKS["square"]) == 1


def test_clicks_refine_one_object() -> None:
    segmenter = FakeSegmenter()
    with own_server(segmenter, tools="label-studio") as address:
        drawn = [click(70, 80), click(150, 190, is_positive=False)]
        (prediction,) = predict(address, asked(data_url(PICTURE), drawn=drawn))["results"]
        predict(address, asked(data_url(PICTURE), drawn=[click(70, 80, is_positive=0)]))
    (prompt,) = segmenter.asked[0].prompts  # type: ignore[union-attr]
    assert [(round(x, 6), round(y, 6), positive) for x, y, positive in prompt.points] == [
        (70, 80, True),
        (150, 190, False),
    ]
    assert mask_iou(region_mask(prediction["result"][0]), MASKS["first"]) == 1
    assert segmenter.encoded == 1


def test_rectangles_are_an_object_each_and_one_beside_clicks_belongs_to_them(url: str) -> None:
    drawn = [rectangle(CIRCLE), rectangle(SQUARE)]
    (prediction,) = predict(url, asked(data_url(PICTURE), drawn=drawn))["results"]
    found = [region_mask(region) for region in prediction["result"]]
    assert [mask_iou(found[0], MASKS["first"]), mask_iou(found[1], MASKS["square"])] == [1, 1]
    (both,) = predict(url, asked(data_url(PICTURE), drawn=[*drawn, click(230, 70)]))["results"]
    assert len(both["result"]) == 1


def test_a_text_or_a_label_alone_is_a_concept(url: str) -> None:
    words = {
        "type": "textarea",
        "from_name": "words",
        "to_name": "image",
        "value": {"text": ["blue", "square"]},
    }
    (prediction,) = predict(url, asked(data_url(PICTURE), drawn=[words]))["results"]
    assert [mask_iou(region_mask(one), MASKS["square"]) for one in prediction["result"]] == [1]
    label = {"type": "brushlabels", "to_name": "image", "value": {"brushlabels": ["Ball"]}}
    (prediction,) = predict(url, asked(data_url(PICTURE), drawn=[label]))["results"]
    assert [one["value"]["brushlabels"] for one in prediction["result"]] == [["Ball"], ["Ball"]]


def test_a_task_may_have_many_masks_already(url: str) -> None:
    """Label Studio sends them along, a number for each byte."""
    body = asked(data_url(PICTURE), drawn=[click(230, 70)])
    region = {"type": "brushlabels", "value": {"format": "rle", "rle": [255] * 400_000, "brushlabels": ["A"]}}
    body["tasks"][0]["annotations"] = [{"id": 1, "result": [region]}]
    assert len(predict(url, body)["results"][0]["result"]) == 1


def test_a_click_on_nothing_has_no_region(url: str) -> None:
    (prediction,) = predict(url, asked(data_url(PICTURE), drawn=[click(5, 5)]))["results"]
    assert prediction["result"] == []
    assert prediction["score"] == 0


@pytest.mark.parametrize(
    ("body", "say"),
    [
        ({}, "tasks: Field required"),
        ({**asked(), "tasks": []}, "at least 1"),
        ({**asked("x"), "tasks": [{"id": 1}]}, "tasks.0.data"),
        (asked("x", label_config="<View"), "not XML"),
        (asked("x", label_config="<View/>"), "no BrushLabels"),
        (asked("x", "y", drawn=[click(1, 1)]), "one task"),
        (asked("x", drawn=[{"type": "ellipse", "value": {}}]), "no click"),
        (asked("x", drawn=[{**click(1, 1), "value": {"x": "1", "y": 1}}]), "valid number"),
        (asked("x", drawn=[{**click(1, 1), "value": {"y": 1}}]), "lacks x or y"),
        (asked("x", drawn=[{**click(1, 1), "original_width": None}]), "lacks original_width"),
        (asked("x", drawn=[{**click(1, 1), "original_width": 0}]), "greater than or equal to 1"),
        (asked(data_url(PICTURE), drawn=[{**click(1, 1), "original_width": WIDTH + 1}]), "320 x 256"),
        (asked(data_url(PICTURE), drawn=[click(WIDTH * 2, 1)]), "outside the image"),
    ],
)
def test_malformed_requests_are_422_in_label_studios_form(url: str, body: Any, say: str) -> None:
    refused = predict(url, body, expect=422)
    assert set(refused) == {"error", "detail"}
    assert say in refused["error"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"project": 7},
        {"project": PROJECT, "hostname": "labels.example.com"},
        {"project": PROJECT, "hostname": "ftp://labels.example.com"},
        {"project": PROJECT, "hostname": "http://user:word@labels.example.com"},
        {"project": PROJECT, "hostname": "http://a b"},
        {"project": PROJECT, "hostname": "https://xn--a"},
        {"project": PROJECT, "hostname": "https://labels.invalid", "access_token": "a\r\nX: b"},
    ],
)
def test_malformed_setups_are_422(url: str, body: Any) -> None:
    assert set(Client(url).post("/label-studio/setup", body, expect=422)) == {"error", "detail"}


def test_keys_are_basic_passwords(tmp_path: Path, start_server: ServerFactory) -> None:
    """Label Studio sends Basic or nothing. The user's name has no meaning."""
    key_file = tmp_path / "keys.json"
    key = keyfile.add(key_file, "acme")
    segmenter = FakeSegmenter()
    with start_server(segmenter, api_keys_file=key_file, tools="label-studio") as address:
        body = asked(data_url(PICTURE))
        assert predict(address, body, auth=("any", key))["results"]
        assert predict(address, body, params={"api_key": key})["results"]
        for wrong in ({}, {"auth": ("any", "wrong")}, {"headers": {"Authorization": "Basic ~"}}):
            for route in ("predict", "setup", "webhook"):
                refused = Client(address).post(f"/label-studio/{route}", body, expect=401, **wrong)
                assert refused["error"] == "Unauthorized api_key"
        for route in ("health", "versions"):
            place = f"{address}/label-studio/{route}"
            assert requests.get(place, auth=("any", key), timeout=PATIENCE_S).status_code == 200
            assert requests.get(place, timeout=PATIENCE_S).status_code == 401
        # A proxy in front may have a password of its own: elsewhere the body's key counts.
        image = {"image": as_json(PICTURE), "api_key": key}
        assert Client(address).embed(image, auth=("proxy", "word"))
    assert set(segmenter.tenants) == {"acme"}


class LabelStudio(http.server.BaseHTTPRequestHandler):
    """Gives its images to clients with the token, and redirects to another server."""

    seen: ClassVar[list[tuple[str, str | None]]] = []

    def do_GET(self) -> None:
        token = self.headers.get("Authorization")
        self.seen.append((self.path, token))
        place, _, target = self.path.partition("?to=")
        if place == "/elsewhere":
            self.send_response(302)
            self.send_header("Location", target)
            self.end_headers()
            return
        if "*/*" not in self.headers["Accept"]:  # its framework's renderers make no image
            self.send_error(406)
            return
        allowed = token == f"Token {TOKEN}" or place.startswith("/public")
        self.send_response(200 if allowed else 401)
        self.send_header("Content-Type", "image/png" if allowed else "application/json")
        self.end_headers()
        self.wfile.write(PICTURE if allowed else b"{}")

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def studios() -> Iterator[list[str]]:
    """The origins of two servers."""
    LabelStudio.seen.clear()
    with plain_server(LabelStudio) as one, plain_server(LabelStudio) as other:
        yield [f"http://127.0.0.1:{port}" for port in (one, other)]


def set_up(url: str, hostname: str, project: str = PROJECT, token: str = TOKEN, **options: Any) -> None:
    body = {"project": project, "schema": BRUSH, "hostname": hostname, "access_token": token}
    Client(url).post("/label-studio/setup", body, **options)


def test_a_projects_images_are_fetched_with_its_token(
    start_server: ServerFactory, studios: list[str]
) -> None:
    with start_server(tools="label-studio", tool_origins=studios[0]) as address:
        set_up(address, studios[0])
        paths = [
            "/data/upload/7/a.png",
            "upload/7/b.png",
            "/data/local-files/?d=c.png",
            f"{studios[0]}/d.png",
        ]
        results = predict(address, asked(*paths, "s3://bucket/e.png"))["results"]
    assert [len(one["result"]) for one in results] == [3] * 5
    fetched = dict(LabelStudio.seen)
    assert set(fetched.values()) == {f"Token {TOKEN}"}
    assert set(fetched) == {
        "/data/upload/7/a.png",
        "/data/upload/7/b.png",
        "/data/local-files/?d=c.png",
        "/d.png",
        "/tasks/5/presign/?fileuri=czM6Ly9idWNrZXQvZS5wbmc=",
    }


def test_the_token_goes_to_that_server_alone(start_server: ServerFactory, studios: list[str]) -> None:
    """Neither an image's own address nor a redirect takes it elsewhere."""
    one, other = studios
    with start_server(tools="label-studio", tool_origins=",".join(studios)) as address:
        set_up(address, one)
        results = predict(
            address,
            asked(
                f"/elsewhere?to={other}/public.png",
                f"{other}/secret.png",
                f"/elsewhere?to={other}/secret.png",
            ),
        )["results"]
        assert [len(one) > 0 for one in results] == [True, False, False]
    at_other = [token for path, token in LabelStudio.seen if "to=" not in path]
    assert at_other
    assert set(at_other) == {None}


def test_another_token_sees_nothing_of_what_was_fetched(
    start_server: ServerFactory, studios: list[str]
) -> None:
    with start_server(tools="label-studio", tool_origins=studios[0]) as address:
        set_up(address, studios[0])
        set_up(address, studios[0], project="8.1", token="another")
        body = asked("/data/upload/7/a.png")
        assert predict(address, body)["results"]
        assert "answered 401" in predict(address, {**body, "project": "8.1"}, expect=400)["error"]


def test_servers_that_the_operator_has_not_named_are_fetched_from_as_any_other(
    start_server: ServerFactory, studios: list[str]
) -> None:
    """A client chooses the hostname: it opens no way into the network."""
    with start_server(tools="label-studio", tool_origins=studios[0]) as address:
        for hostname in (studios[1], "http://169.254.169.254", "https://127.0.0.1", "http://localhost:6379"):
            set_up(address, hostname)
            refused = predict(address, asked("/data/upload/7/a.png"), expect=400)["error"]
            assert "image URL refused" in refused
            assert "SAM3_TOOL_ORIGINS" in refused
        # A redirect from a named server is checked as well.
        set_up(address, studios[0])
        predict(address, asked(f"/elsewhere?to={studios[1]}/public.png"), expect=400)
        # The other routes fetch nothing from it.
        image = {"image": {"type": "url", "value": f"{studios[0]}/public.png"}}
        assert "image URL refused" in Client(address).embed(image, expect=400)["message"]
    assert all("to=" in path for path, _ in LabelStudio.seen)


def test_tenants_share_no_project(tmp_path: Path, start_server: ServerFactory, studios: list[str]) -> None:
    key_file = tmp_path / "keys.json"
    keys = [keyfile.add(key_file, name) for name in ("acme", "other")]
    settings: dict[str, Any] = {
        "tools": "label-studio",
        "tool_origins": studios[0],
        "api_keys_file": key_file,
    }
    with start_server(**settings) as address:
        set_up(address, studios[0], auth=("", keys[0]))
        body = asked("/data/upload/7/a.png")
        assert predict(address, body, auth=("", keys[0]))["results"]
        assert "does not know it yet" in predict(address, body, expect=400, auth=("", keys[1]))["error"]


def test_requests_are_counted_and_limited_as_others(tmp_path: Path, start_server: ServerFactory) -> None:
    key_file = tmp_path / "keys.json"
    key = keyfile.add(key_file, "slow", requests_per_second=0.01)
    with start_server(api_keys_file=key_file, tools="label-studio") as address:
        body = asked(data_url(PICTURE))
        first = Client(address).send("/label-studio/predict", body, auth=("", key))
        assert first.status_code == 200
        assert "cache;desc=miss" in first.headers["server-timing"]
        refused = Client(address).send("/label-studio/predict", body, auth=("", key))
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert set(refused.json()) == {"error", "detail"}
        health = requests.get(f"{address}/label-studio/health", auth=("", key), timeout=PATIENCE_S)
        assert health.status_code == 200  # it is asked before each request
