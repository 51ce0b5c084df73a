from typing import Any

import pytest

from deployments.workflows.policy import MOST_BYTES, Policy, RefusedDefinition
from deployments.workflows.steps import ALLOWED, SAM3

POLICY = Policy(max_steps=3, more_steps=("mine/block@v1",))


def definition(*steps: Any, **more: Any) -> dict[str, Any]:
    return {"version": "1.0", "inputs": [], "steps": list(steps), "outputs": [], **more}


@pytest.mark.parametrize(
    "kind", sorted({*SAM3, "roboflow_core/mask_visualization@v1", "Crop", "mine/block@v1"})
)
def test_known_steps_run(kind: str) -> None:
    POLICY.check(definition({"type": kind, "name": "a"}))


@pytest.mark.parametrize(
    "kind", ["roboflow_core/webhook_sink@v1", "roboflow_core/sam3@v4", "sam3@v1", "", "Python"]
)
def test_other_steps_do_not(kind: str) -> None:
    with pytest.raises(RefusedDefinition, match="SAM 3 alone") as raised:
        POLICY.check(definition({"type": SAM3[0], "name": "a"}, {"type": kind, "name": "b"}))
    assert raised.value.step == ("b", kind)
    assert raised.value.payload()["blocks_errors"][0]["block_id"] == "b"


@pytest.mark.parametrize("step", [None, 5, "x", [], {}, {"type": None}, {"type": ["roboflow_core/sam3@v1"]}])
def test_values_that_are_no_step_do_not(step: Any) -> None:
    with pytest.raises(RefusedDefinition):
        POLICY.check(definition(step))


@pytest.mark.parametrize(
    "whole", [None, [], "x", {"steps": {}}, {"steps": "x"}, {"inputs": {}}, {"outputs": "x"}]
)
def test_values_that_are_no_definition_do_not(whole: Any) -> None:
    with pytest.raises(RefusedDefinition):
        POLICY.check(whole)


def test_code_does_not() -> None:
    with pytest.raises(RefusedDefinition, match="custom Python"):
        POLICY.check(definition(dynamic_blocks_definitions=[{}]))


def test_size_is_bounded() -> None:
    steps = [{"type": SAM3[0], "name": str(number)} for number in range(4)]
    POLICY.check(definition(*steps[:3]))
    with pytest.raises(RefusedDefinition, match="4 steps, and 3 are the most"):
        POLICY.check(definition(*steps))
    with pytest.raises(RefusedDefinition, match="longer than"):
        POLICY.check(definition(name="x" * MOST_BYTES))
    with pytest.raises(RefusedDefinition, match="outputs"):
        POLICY.check({**definition(), "outputs": [{}] * 1000})


LEAVING = "sink secret cache_ inner_workflow notification upload dataset python model@ open"


@pytest.mark.parametrize("part", LEAVING.split())
def test_nothing_that_leaves_the_process_is_allowed(part: str) -> None:
    assert [kind for kind in ALLOWED if part in kind] == []
