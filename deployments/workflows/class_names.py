"""The class names of SAM 3 steps: Roboflow's blocks split a text at commas, and keep the spaces and the empty names."""

from collections.abc import Sequence
from typing import Any

from deployments.workflows.steps import SAM3


def tidy_definition(definition: dict[str, Any]) -> dict[str, Any]:
    """The definition with `class_names` of SAM 3 steps as lists of names without spaces around, none of them empty.

    Selectors and values other than texts stay as they are. So does a text without any name, which the step refuses.
    """
    steps = definition.get("steps")
    if not isinstance(steps, list):
        return definition
    return {**definition, "steps": [_tidy_step(step) for step in steps]}


def _tidy_step(step: Any) -> Any:
    if not isinstance(step, dict) or step.get("type") not in SAM3:
        return step
    text = step.get("class_names")
    if not isinstance(text, str) or text.startswith("$"):
        return step
    names = [name.strip() for name in text.split(",") if name.strip()]
    return {**step, "class_names": names} if names else step


def named(prompts: Sequence[dict[str, Any]]) -> list[int]:
    """Indices of the prompts that hold a text or boxes. The names of an input are only known when the step runs."""
    return [index for index, prompt in enumerate(prompts) if _is_named(prompt)]


def _is_named(prompt: dict[str, Any]) -> bool:
    text = prompt.get("text")
    return not isinstance(text, str) or bool(text.strip()) or bool(prompt.get("boxes"))
