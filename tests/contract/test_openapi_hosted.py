"""`/openapi.json` holds everything that the hosted API's document holds; this file lists the differences.

data/hosted-openapi-0.64.4.facts.json is the hosted document without its prose: names, types, defaults,
required lists.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.support.patience import PATIENCE_S

HOSTED = json.loads((Path(__file__).parent / "data/hosted-openapi-0.64.4.facts.json").read_text())
SCHEMAS = HOSTED["components"]["schemas"]
PROSE = {"title", "description", "examples", "summary"}
BOUNDS = {"minItems", "maxItems", "minimum", "maximum", "minLength", "maxLength"}

NEW_PATHS = {
    "/sam3/embed_image",
    "/sam3/images",
    "/sam3/images/{image_id}",
    "/sam3/usage",
    "/",
    "/info",
    "/models",
    "/readiness",
    "/healthz",
}


def has_tests_of_its_own(path: str) -> bool:
    """True for a route of Workflows or of videos, which a server may have on."""
    return "/workflows" in path or path.startswith("/sam3/video")


NEW_PARAMETERS = {"countinference", "service_secret", "source", "source_info", "disable_active_learning"}
NEW_BODY_TYPES = {"multipart/form-data"}
NEW_ANSWERS = {"400", "401", "404", "413", "429", "500", "503", "504"}
OPTIONAL_PARAMETERS = {
    "api_key"
}  # required by the hosted API; here a header or the body may carry it instead
DANGLING = {
    "Sam2PromptSet",
    "Sam2SegmentationPrediction",
    "Box",
    "BoxXYXY",
}  # referred to there, defined here
NEW_PROPERTIES = {
    "Sam3SegmentationRequest": {"api_key"},
    "Sam3SegmentationResponse": {"image_id", "width", "height"},
    "Sam3PromptResult": {"warnings"},
    "Sam3SegmentationPrediction": {"box", "area"},
    "Sam2SegmentationRequest": {"api_key", "model_id"},
    "Sam2SegmentationResponse": {"image_id", "predictions", "width", "height"},
}
NEW_BOUNDS = {  # limits that the hosted document does not name
    "Sam3SegmentationRequest.prompts": {"maxItems": 16},
    "Sam3SegmentationRequest.image_id": {"minLength": 1, "maxLength": 512},
    "Sam3SegmentationRequest.output_prob_thresh": {"minimum": 0, "maximum": 1},
    "Sam3SegmentationRequest.nms_iou_threshold": {"minimum": 0, "maximum": 1},
    "Sam3Prompt.text": {"maxLength": 1000},
    "Sam3Prompt.output_prob_thresh": {"minimum": 0, "maximum": 1},
    "Sam3Prompt.boxes": {"maxItems": 256},
    "Sam3Prompt.box_labels": {"maxItems": 256},
    "Sam3Prompt.box_labels[]": {"minimum": 0, "maximum": 1},
    "Sam2SegmentationRequest.image_id": {"minLength": 1, "maxLength": 512},
}


@pytest.fixture(scope="module")
def ours(server: str) -> dict[str, Any]:
    document = requests.get(f"{server}/openapi.json", timeout=PATIENCE_S).json()
    assert isinstance(document, dict)
    return document


def branches(schema: dict[str, Any]) -> list[dict[str, Any]]:
    """The alternatives that a schema allows, flattened."""
    if "anyOf" not in schema:
        return [schema]
    return [leaf for branch in schema["anyOf"] for leaf in branches(branch)]


def differences(hosted: dict[str, Any], mine: dict[str, Any], place: str) -> list[str]:
    """Complaints about a value of the hosted schema; none when some branch of ours takes it as it is."""
    wanted = branches(hosted)
    return [
        f"{place}: {branch} is not allowed by {mine}"
        for branch in wanted
        if not any(takes(branch, candidate, place) for candidate in branches(mine))
    ]


def takes(hosted: dict[str, Any], mine: dict[str, Any], place: str) -> bool:
    """True if one branch of ours is the hosted one, bounds that are listed above aside."""
    if "$ref" in hosted or "$ref" in mine:
        return hosted.get("$ref") == mine.get("$ref")
    if hosted.get("type") != mine.get("type"):
        return False
    added = {key: mine[key] for key in BOUNDS & mine.keys() if hosted.get(key) != mine[key]}
    if added != NEW_BOUNDS.get(place, {}) and added:
        return False
    if any(hosted[key] != mine.get(key) for key in BOUNDS & hosted.keys()):
        return False
    if "items" in hosted:
        return not differences(hosted["items"], mine.get("items", {}), f"{place}[]")
    return True


def test_version(ours: dict[str, Any]) -> None:
    assert ours["openapi"].startswith("3.1")
    assert ours["openapi"] == HOSTED["openapi"]


def test_paths(ours: dict[str, Any]) -> None:
    assert {path for path in ours["paths"] if not has_tests_of_its_own(path)} - NEW_PATHS == set(
        HOSTED["paths"]
    )
    for path, operations in HOSTED["paths"].items():
        assert set(ours["paths"][path]) == set(operations)


@pytest.mark.parametrize("path", HOSTED["paths"])
def test_parameters(ours: dict[str, Any], path: str) -> None:
    mine = {one["name"]: one for one in ours["paths"][path]["post"]["parameters"]}
    documented = HOSTED["paths"][path]["post"]["parameters"]
    assert set(mine) - NEW_PARAMETERS == {one["name"] for one in documented}
    for one in documented:
        assert mine[one["name"]]["in"] == one["in"]
        assert not differences(one["schema"], mine[one["name"]]["schema"], one["name"])
        assert one["name"] in OPTIONAL_PARAMETERS or mine[one["name"]]["required"] == one["required"]


@pytest.mark.parametrize("path", HOSTED["paths"])
def test_bodies_and_answers(ours: dict[str, Any], path: str) -> None:
    documented, mine = HOSTED["paths"][path]["post"], ours["paths"][path]["post"]
    assert mine["requestBody"]["required"] == documented["requestBody"]["required"]
    content = mine["requestBody"]["content"]
    assert set(content) - NEW_BODY_TYPES == set(documented["requestBody"]["content"])
    for kind, body in documented["requestBody"]["content"].items():
        assert not differences(body["schema"], content[kind]["schema"], path)
    assert set(mine["responses"]) - NEW_ANSWERS == set(documented["responses"])
    for status, answer in documented["responses"].items():
        for kind, body in answer["content"].items():
            assert not differences(body["schema"], mine["responses"][status]["content"][kind]["schema"], path)


@pytest.mark.parametrize("name", SCHEMAS)
def test_schemas(ours: dict[str, Any], name: str) -> None:
    hosted, mine = SCHEMAS[name], ours["components"]["schemas"][name]
    assert mine["type"] == hosted["type"] == "object"
    assert sorted(mine.get("required", [])) == sorted(hosted.get("required", []))
    assert set(mine["properties"]) - NEW_PROPERTIES.get(name, set()) == set(hosted["properties"])
    for field, schema in hosted["properties"].items():
        assert not differences(schema, mine["properties"][field], f"{name}.{field}")
        if "default" in schema:
            assert mine["properties"][field]["default"] == schema["default"]
        else:  # null is how a schema of ours says "left out"
            assert mine["properties"][field].get("default") is None


def test_the_list_of_differences_is_current(ours: dict[str, Any]) -> None:
    """An addition that went away is taken off the lists above."""
    mine = ours["components"]["schemas"]
    for name, fields in NEW_PROPERTIES.items():
        assert fields <= set(mine[name]["properties"])
    assert set(ours["paths"]) >= NEW_PATHS
    assert set(mine) >= DANGLING
    assert DANGLING.isdisjoint(SCHEMAS)
    for place, bounds in NEW_BOUNDS.items():
        name, _, field = place.removesuffix("[]").partition(".")
        texts = [json.dumps(branch) for branch in branches(mine[name]["properties"][field])]
        assert all(any(f'"{key}": {value}' in text for text in texts) for key, value in bounds.items()), place


def test_every_reference_is_defined(ours: dict[str, Any]) -> None:
    text = json.dumps(ours)
    names = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names <= set(ours["components"]["schemas"])


def test_every_route_has_an_example_that_works(ours: dict[str, Any], server: str) -> None:
    tried = 0
    for path, operations in ours["paths"].items():
        if "delete" in operations or has_tests_of_its_own(path):
            continue
        if "post" not in operations:
            assert requests.get(server + path, timeout=PATIENCE_S).status_code == 200
            continue
        examples = operations["post"]["requestBody"]["content"]["application/json"]["examples"]
        assert examples
        for example in examples.values():
            answer = requests.post(server + path, json=example["value"], timeout=PATIENCE_S)
            assert answer.status_code == 200, answer.text
            tried += 1
    assert tried >= 6


def test_the_examples_find_something(ours: dict[str, Any], server: str) -> None:
    route = "/sam3/concept_segment"
    example = ours["paths"][route]["post"]["requestBody"]["content"]["application/json"]["examples"]["text"]
    answer = requests.post(server + route, json=example["value"], timeout=PATIENCE_S).json()
    assert len(answer["prompt_results"][0]["predictions"]) == 1
