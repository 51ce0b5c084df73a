"""Several models behind one server: `GET /models`, and the model that each request names."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import requests

from deployments.protocol import ModelStatus
from harness.waiting import wait_until
from serve_app.http.tenants import keyfile
from serve_app.model_file import read_models
from tests.contract.conftest import Client, ServerFactory, own_server
from tests.support.fake_segmenter import FakeSegmenter
from tests.support.patience import PATIENCE_S
from tests.support.scenes import as_json, numbered

MODELS = """
base: {architecture: tiny, aliases: [first], default: true}
acme/cars/3: {architecture: tiny, checkpoint: cars.pt, replicas: 0, output_prob_thresh: 0.9}
pets: {architecture: tiny, checkpoint: pets.pt, pinned: true}
"""
ROUTES = ["/sam3/concept_segment", "/sam3/visual_segment", "/sam3/embed_image"]


@pytest.fixture(scope="module")
def segmenter() -> FakeSegmenter:
    return FakeSegmenter(states={"acme/cars/3": ModelStatus("asleep", 0), "pets": ModelStatus("loading", 0)})


@pytest.fixture(scope="module")
def several(segmenter: FakeSegmenter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    log = tmp_path_factory.mktemp("log") / "access.log"
    with own_server(segmenter, models=read_models(MODELS), access_log=str(log)) as url:
        client = Client(url)
        client.log = log  # type: ignore[attr-defined]
        yield client


def body(**fields: object) -> dict[str, object]:
    return {"image": as_json(numbered(1)), "prompts": [{"type": "text", "text": "red"}], **fields}


def test_the_models_are_listed_with_their_state(several: Client) -> None:
    found = requests.get(f"{several.url}/models", timeout=PATIENCE_S).json()["models"]
    assert [one["name"] for one in found] == ["base", "acme/cars/3", "pets"]
    assert found[0] == {
        "name": "base",
        "aliases": ["first", "sam3/sam3_final"],
        "default": True,
        "architecture": "tiny",
        "state": "ready",
        "replicas": 1,
        "pinned": False,
        "output_prob_thresh": None,
    }
    assert (found[1]["state"], found[1]["default"], found[1]["output_prob_thresh"]) == ("asleep", False, 0.9)
    assert (found[2]["state"], found[2]["pinned"]) == ("loading", True)


def test_a_server_with_one_model_lists_it(start_server: ServerFactory) -> None:
    with start_server(model_ids=("mine", "other")) as url:
        (one,) = requests.get(f"{url}/models", timeout=PATIENCE_S).json()["models"]
    assert (one["name"], one["aliases"], one["default"]) == ("mine", ["other", "sam3/sam3_final"], True)


def test_the_list_needs_a_key_where_the_server_has_keys(start_server: ServerFactory, tmp_path: Path) -> None:
    key = keyfile.add(tmp_path / "keys.json", "acme")
    with start_server(api_keys_file=tmp_path / "keys.json") as url:
        assert requests.get(f"{url}/models", timeout=PATIENCE_S).status_code == 401
        answer = requests.get(f"{url}/models", params={"api_key": key}, timeout=PATIENCE_S)
    assert answer.status_code == 200


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    ("model_id", "name"),
    [
        ("base", "base"),
        ("first", "base"),
        ("sam3/sam3_final", "base"),
        (None, "base"),
        ("acme/cars/3", "acme/cars/3"),
        ("pets", "pets"),
    ],
)
def test_each_request_chooses_its_model(
    several: Client, segmenter: FakeSegmenter, route: str, model_id: str | None, name: str
) -> None:
    prompts = {} if "concept" in route else {"prompts": None}
    answer = several.send(route, body(**prompts, model_id=model_id))
    assert answer.status_code == 200, answer.text
    assert segmenter.asked_models[-1] == name
    assert answer.headers["X-Model-Id"] == ("first" if model_id == "first" else name)


@pytest.mark.parametrize("route", ROUTES)
def test_unknown_models_are_404_with_the_list(several: Client, segmenter: FakeSegmenter, route: str) -> None:
    before = len(segmenter.asked)
    prompts = {} if "concept" in route else {"prompts": None}
    said = several.post(route, body(**prompts, model_id="cats"), expect=404)["message"]
    assert said == (
        "this server does not serve 'cats': it serves base, first, sam3/sam3_final, acme/cars/3, pets"
    )
    several.post(route, body(**prompts, model_id="a b"), expect=400)
    several.post(route, body(**prompts, model_id=3), expect=422)
    assert len(segmenter.asked) == before


def test_a_list_of_images_is_answered_by_one_model(several: Client, segmenter: FakeSegmenter) -> None:
    images = [as_json(numbered(1)), as_json(numbered(2))]
    several.concept(body(image=images, model_id="pets"))
    assert segmenter.asked_models[-2:] == ["pets", "pets"]


def test_a_models_own_threshold_holds_where_the_request_names_none(
    several: Client, segmenter: FakeSegmenter
) -> None:
    def threshold(**fields: object) -> float:
        several.concept(body(**fields))
        return segmenter.asked[-1].prompts[0].score_threshold  # type: ignore[union-attr, no-any-return]

    assert threshold(model_id="acme/cars/3") == 0.9
    assert threshold(model_id="acme/cars/3", output_prob_thresh=None) == 0.9
    assert threshold(model_id="acme/cars/3", output_prob_thresh=0.2) == 0.2
    assert threshold(model_id="pets") == threshold() == 0.5


def test_the_access_log_names_the_model(several: Client) -> None:
    several.concept(body(model_id="first"))
    several.concept(body(model_id="cats"), expect=404)
    requests.get(f"{several.url}/info", timeout=PATIENCE_S)
    log: Path = several.log  # type: ignore[attr-defined]

    def lines() -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in log.read_text().splitlines()]

    wait_until(lambda: lines()[-1]["route"] == "/info")  # a line is written when its answer is out
    assert [line.get("model") for line in lines()[-3:]] == ["base", None, None]


def test_videos_are_followed_by_the_default_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAM3_VIDEO", "true")
    with own_server(models=read_models(MODELS)) as url:
        begun = requests.post(
            f"{url}/sam3/video/sessions", json={"texts": [{"text": "red"}]}, timeout=PATIENCE_S
        ).json()
        frames = f"{url}/sam3/video/sessions/{begun['session_id']}/frames"

        def status(**fields: str) -> int:
            document = {"image": as_json(numbered(1)), **fields}
            return requests.post(frames, json=document, timeout=PATIENCE_S).status_code

        assert [status(model_id=name) for name in ("pets", "none/such", "base")] == [422, 404, 200]
        assert status() == 200
