"""Values at the limits of the exchange between the parts of a workflow, in and out."""

import re
from typing import Any

import pytest

from tests.support.scenes import as_json, encoded, scene
from tests.workflows.conftest import Server
from tests.workflows.specifications import sam3, workflow

IMAGE = as_json(encoded(scene()))
BEYOND = [2**64, -(2**63) - 1, 10**30]
PARAMETER = {"type": "WorkflowParameter", "name": "number", "default_value": 1}
PASSES = workflow(found="$inputs.number") | {"inputs": [PARAMETER]}
DIGITS = {"type": "roboflow_core/string_template@v1", "name": "digits", "template": "9" * 40}
CAST = {
    "type": "roboflow_core/property_definition@v1",
    "name": "cast",
    "data": "$steps.digits.output",
    "operations": [{"type": "ToNumber", "cast_to": "int"}],
}
REPR = re.compile(r"\bobject at\b|\bat 0x[0-9a-f]+")


@pytest.mark.parametrize("number", BEYOND)
@pytest.mark.parametrize("place", ["inputs", "definition", "validate", "describe_interface"])
def test_integers_beyond_64_bits_are_422_and_kill_no_worker(
    server: Server, caplog: pytest.LogCaptureFixture, number: int, place: str
) -> None:
    inputs: dict[str, Any] = {"number": number} if place == "inputs" else {}
    defined = PASSES | {"inputs": [{**PARAMETER, "default_value": number}]}
    match place:
        case "inputs":
            answer = server.run(PASSES, inputs)
        case "definition":
            answer = server.run(defined)
        case "validate":
            answer = server.post("/workflows/validate", defined)
        case _:
            answer = server.post("/workflows/describe_interface", {"specification": defined})
    assert answer.status_code == 422, answer.text
    assert "64 bits" in answer.json()["detail"][0]["msg"]
    assert "a worker died" not in caplog.text


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), 0])
def test_integers_of_64_bits_pass(server: Server, number: int) -> None:
    answer = server.run(PASSES, {"number": number})
    assert answer.json()["outputs"] == [{"found": number}]


def test_an_integer_that_a_step_makes_too_large_is_400(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    made = workflow(DIGITS, CAST, found="$steps.cast.output") | {"inputs": []}
    answer = server.run(made)
    assert answer.status_code == 400, answer.text
    assert "output" in answer.json()["message"]
    assert "a worker died" not in caplog.text


BUFFER = {
    "type": "roboflow_core/buffer@v1",
    "name": "buffer",
    "data": "$inputs.image",
    "length": 2,
    "pad": True,
}
TEXT = {
    "type": "roboflow_core/string_template@v1",
    "name": "text",
    "template": "seen: {{ $parameters.image }}",
    "template_parameters": {"image": "$inputs.image"},
}
LATER: dict[str, Any] = {
    "type": "roboflow_core/property_definition@v1",
    "name": "words",
    "data": "$steps.sam.predictions",
    "operations": [{"type": "ToString"}],
}


@pytest.mark.parametrize(
    ("steps", "selector"),
    [
        ([BUFFER], "$steps.buffer.output"),
        ([TEXT], "$steps.text.output"),
        ([LATER | {"data": "$inputs.image"}], "$steps.words.output"),
        ([sam3(), LATER], "$steps.words.output"),
        ([sam3(), BUFFER | {"data": "$steps.sam.predictions"}], "$steps.buffer.output"),
    ],
)
def test_no_answer_holds_an_objects_repr(server: Server, steps: Any, selector: str) -> None:
    answer = server.run(workflow(*steps, found=selector), {"image": IMAGE})
    assert answer.status_code == 200, answer.text
    assert not REPR.search(answer.text)


def test_an_image_in_a_list_is_answered_as_others_are(server: Server) -> None:
    outputs = {"one": "$inputs.image", "many": "$steps.buffer.output"}
    answer = server.run(workflow(BUFFER, **outputs), {"image": IMAGE})
    (result,) = answer.json()["outputs"]
    (image, none), one = result["many"], result["one"]
    assert none is None
    assert (image["type"], image["value"]) == (one["type"], one["value"])
