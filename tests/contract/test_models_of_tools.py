"""Several models behind the annotation tools: each tool chooses one in its own way, the default answers otherwise."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from serve_app.hooks.model import model_of
from serve_app.http.tools.rooms import ROUTERS
from serve_app.model_file import read_models
from tests.contract.conftest import Client, ServerFactory, own_server
from tests.support.fake_segmenter import FakeSegmenter
from tests.support.patience import PATIENCE_S
from tests.support.scenes import as_json, encoded, scene

# pycocotools.mask.decode knows no numpy 2 yet.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)

MODELS = """
pets: {architecture: tiny, checkpoint: pets.pt, aliases: [animals], output_prob_thresh: 0.895}
base: {architecture: tiny, default: true}
acme/cars/3: {architecture: tiny, checkpoint: cars.pt}
acme/cars.3: {architecture: tiny, checkpoint: other.pt}
"""
PICTURE = as_json(encoded(scene()))["value"]
LABELS = '<Label value="red circle"/><Label value="blue square"/>'
CLICK = {"type": "point", "data": [230, 70], "label": 1}


@pytest.fixture(scope="module")
def segmenter() -> FakeSegmenter:
    return FakeSegmenter()


@pytest.fixture(scope="module")
def several(segmenter: FakeSegmenter) -> Iterator[Client]:
    settings: dict[str, Any] = {"tools": ",".join(ROUTERS), "cvat_labels": "red circle,blue square"}
    with own_server(segmenter, models=read_models(MODELS), **settings) as url:
        yield Client(url)


def get(client: Client, path: str) -> Any:
    answer = requests.get(client.url + path, timeout=PATIENCE_S)
    assert answer.status_code == 200, answer.text
    return answer.json()


def predict(client: Client, model: str, expect: int = 200, **params: Any) -> Any:
    body = {"model": model, "image": PICTURE, "params": params}
    return client.post("/v1/predict", body, expect)


def invoke(client: Client, function: str, expect: int = 200, **payload: Any) -> Any:
    headers = {"x-nuclio-function-name": function}
    body = {"image": PICTURE, **payload}
    return client.post("/api/function_invocations", body, expect, headers=headers)


def config(*tools: tuple[str, str]) -> str:
    """A configuration with a tool of each tag, with these attributes."""
    parts = [f'<{tag} name="{tag.lower()}" toName="image" {more}>{LABELS}</{tag}>' for tag, more in tools]
    return f'<View><Image name="image" value="$image"/>{"".join(parts)}</View>'


def label(client: Client, label_config: str, expect: int = 200, **params: Any) -> Any:
    image = f"data:image/png;base64,{PICTURE}"
    body = {"tasks": [{"id": 1, "data": {"image": image}}], "label_config": label_config, "params": params}
    return client.post("/label-studio/predict", body, expect)


def test_x_anylabeling_lists_two_entries_for_each_model(several: Client) -> None:
    listed = get(several, "/v1/models")["data"]
    assert list(listed) == [
        "segment_anything_3",
        "segment_anything_3_clicks",
        "segment_anything_3@pets",
        "segment_anything_3_clicks@pets",
        "segment_anything_3@acme/cars/3",
        "segment_anything_3_clicks@acme/cars/3",
        "segment_anything_3@acme/cars.3",
        "segment_anything_3_clicks@acme/cars.3",
    ]
    titles = [model["display_name"] for model in listed.values()]
    assert len(set(titles)) == len(titles)
    assert titles[2] == "pets: phrases and examples"
    shown = {control["name"]: control["value"] for control in listed["segment_anything_3@pets"]["widgets"]}
    assert shown["edit_conf"] == 0.895


def test_x_anylabeling_asks_the_model_of_an_entry(several: Client, segmenter: FakeSegmenter) -> None:
    for model, name in (
        ("segment_anything_3", "base"),
        ("segment_anything_3@pets", "pets"),
        ("segment_anything_3@acme/cars/3", "acme/cars/3"),
    ):
        predict(several, model, text_prompt="red circle")
        assert segmenter.asked_models[-1] == name
        predict(several, model.replace("_3", "_3_clicks", 1), marks=[CLICK])
        assert segmenter.asked_models[-1] == name
    refused = predict(several, "segment_anything_3@dogs", expect=404, text_prompt="red circle")
    assert "segment_anything_3@pets" in refused["error"]["message"]


def test_a_models_own_threshold_counts_where_a_tool_sends_none(several: Client) -> None:
    """The scene's shapes have scores of 0.9 and, the second circle, 0.89."""
    assert len(predict(several, "segment_anything_3@pets", text_prompt="red circle")["data"]["shapes"]) == 1
    assert len(invoke(several, "sam3-detector.pets")) == 2
    found = label(several, config(("BrushLabels", 'sam3_model="pets"')))["results"][0]["result"]
    assert len(found) == 2
    assert len(invoke(several, "sam3-detector.pets", threshold=0.5)) == 3
    assert len(invoke(several, "sam3-detector")) == 3


def test_cvat_has_functions_of_each_model(several: Client, segmenter: FakeSegmenter) -> None:
    functions = get(several, "/api/functions")
    assert list(functions) == [
        "sam3-interactor",
        "sam3-detector",
        "sam3-interactor.pets",
        "sam3-detector.pets",
        "sam3-interactor.acme.cars.3",
        "sam3-detector.acme.cars.3",
        "sam3-interactor.acme.cars.3-2",
        "sam3-detector.acme.cars.3-2",
    ]
    names = [item["metadata"]["annotations"]["name"] for item in functions.values()]
    assert len(set(names)) == len(names)
    for name, model in (
        ("sam3-interactor", "base"),
        ("sam3-interactor.pets", "pets"),
        ("sam3-interactor.acme.cars.3", "acme/cars/3"),
        ("sam3-interactor.acme.cars.3-2", "acme/cars.3"),
    ):
        assert get(several, f"/api/functions/{name}") == functions[name]
        invoke(several, name, pos_points=[[230, 70]])
        invoke(several, name.replace("interactor", "detector"))
        assert segmenter.asked_models[-2:] == [model, model]
    assert "sam3-interactor.pets" in invoke(several, "sam3-interactor.dogs", expect=404)["error"]


def test_each_tool_of_a_label_studio_project_may_have_a_model(
    several: Client, segmenter: FakeSegmenter
) -> None:
    both = config(("BrushLabels", ""), ("RectangleLabels", 'sam3_model="animals"'))
    before = len(segmenter.asked_models)
    answer = label(several, both)
    assert sorted(map(str, segmenter.asked_models[before:])) == ["base", "pets"]
    assert answer["model_version"] == "sam3-serve/base+sam3-serve/pets"
    kinds = [region["type"] for region in answer["results"][0]["result"]]
    assert kinds == ["brushlabels"] * 3 + ["rectanglelabels"] * 2
    setup = several.post("/label-studio/setup", {"project": "1.1", "schema": both})
    assert setup["model_version"] == answer["model_version"]
    versions = [f"sam3-serve/{name}" for name in ("pets", "base", "acme/cars/3", "acme/cars.3")]
    assert get(several, "/label-studio/versions") == {"versions": versions}


def test_a_click_in_label_studio_asks_the_model_of_the_tool_that_gets_the_region(
    several: Client, segmenter: FakeSegmenter
) -> None:
    click = {
        "type": "keypointlabels",
        "original_width": 320,
        "original_height": 256,
        "value": {"x": 72.0, "y": 27.0, "keypointlabels": ["blue square"]},
    }
    for more, name in (("", "base"), ('sam3_model=""', "base"), ('sam3_model="acme/cars/3"', "acme/cars/3")):
        found = label(several, config(("BrushLabels", more)), context={"result": [click]})
        assert len(found["results"][0]["result"]) == 1
        assert segmenter.asked_models[-1] == name


@pytest.mark.parametrize(("model", "status"), [("dogs", 404), ("a b", 400)])
def test_label_studio_is_told_of_a_model_that_is_not_there(several: Client, model: str, status: int) -> None:
    wrong = config(("BrushLabels", f'sam3_model="{model}"'))
    refused = label(several, wrong, expect=status)
    assert "model_id" in refused["error"] or "pets" in refused["error"]
    setup = several.post("/label-studio/setup", {"project": "1.1", "schema": wrong}, expect=status)
    assert setup == refused


def test_python_hooks_ask_a_model_of_a_server(several: Client, segmenter: FakeSegmenter) -> None:
    for model_id, name in (("", "base"), ("animals", "pets")):
        model = model_of(several.url, model_id=model_id)
        assert len(model.concepts(encoded(scene()), ["red circle"])[0]) == 2
        model.object(encoded(scene()), [(230.0, 70.0)])
        assert segmenter.asked_models[-2:] == [name, name]


def test_a_server_with_one_model_names_no_model(start_server: ServerFactory) -> None:
    with start_server(tools="cvat,x-anylabeling", cvat_labels="red circle") as url:
        assert list(get(Client(url), "/api/functions")) == [
            "sam3-interactor",
            "sam3-detector",
            "sam3-tracker",
        ]
        listed = get(Client(url), "/v1/models")["data"]
    assert list(listed) == [
        "segment_anything_3",
        "segment_anything_3_clicks",
        "segment_anything_3_video",
    ]


def test_the_answer_names_the_model(several: Client) -> None:
    answer = requests.post(
        f"{several.url}/api/function_invocations",
        json={"image": PICTURE, "pos_points": [[230, 70]]},
        headers={"x-nuclio-function-name": "sam3-interactor.pets"},
        timeout=PATIENCE_S,
    )
    assert answer.headers["x-model-id"] == "pets"
