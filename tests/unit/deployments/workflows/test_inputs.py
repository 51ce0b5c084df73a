from typing import Any

import pytest

from deployments.workflows.inputs import image_names, images_in, put


def declaring(*inputs: Any) -> dict[str, Any]:
    return {"inputs": list(inputs)}


def test_images_are_what_the_definition_declares_as_images() -> None:
    definition = declaring(
        {"type": "InferenceImage", "name": "a"},
        {"type": "WorkflowImage", "name": "b"},
        {"type": "WorkflowBatchInput", "name": "c", "kind": ["string", {"name": "image"}]},
        {"type": "WorkflowBatchInput", "name": "d", "kind": ["string"]},
        {"type": "WorkflowParameter", "name": "e"},
    )
    assert image_names(definition) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "definition",
    [{}, {"inputs": None}, {"inputs": {"name": "a"}}, declaring(5, None, {"type": "InferenceImage"})],
)
def test_malformed_declarations_are_left_to_the_engine(definition: dict[str, Any]) -> None:
    assert image_names(definition) == []


def test_images_are_found_in_nested_batches_and_can_be_replaced() -> None:
    definition = declaring({"type": "InferenceImage", "name": "a"}, {"type": "InferenceImage", "name": "b"})
    inputs: dict[str, Any] = {"a": [["x", None], ["y"]], "other": "z"}
    found = list(images_in(definition, inputs))
    assert found == [(("a", 0, 0), "x"), (("a", 1, 0), "y")]
    for path, _ in found:
        put(inputs, path, None)
    assert inputs == {"a": [[None, None], [None]], "other": "z"}


def test_an_input_that_is_declared_twice_is_found_once() -> None:
    definition = declaring(*[{"type": "InferenceImage", "name": "a"}] * 3)
    assert len(list(images_in(definition, {"a": "x"}))) == 1
