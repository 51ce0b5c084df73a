"""The policy for definitions: known steps only, a bounded size, no code, no other workflows, no dynamic blocks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from deployments.workflows.steps import ALLOWED, SAM3

MOST_BYTES = 256 * 1024
"""Largest size of a definition, as JSON."""
MOST_DECLARATIONS = 256
"""Most inputs, and most outputs, of one definition."""


class RefusedDefinition(Exception):
    """The policy forbids the definition. `step`: name and type of the offending step, if there is one."""

    def __init__(self, message: str, step: tuple[str, str] | None = None) -> None:
        super().__init__(message)
        self.step = step

    def payload(self) -> dict[str, Any]:
        """The body of the answer, with the fields of the engine's own errors."""
        name, kind = self.step or (None, None)
        block = {"block_id": name, "block_type": kind, "property_name": "type", "property_details": str(self)}
        return {
            "message": str(self),
            "error_type": "WorkflowDefinitionError",
            "context": "workflow_compilation | policy",
            "inner_error_type": None,
            "inner_error_message": None,
            "blocks_errors": [block] if self.step else [],
        }


@dataclass(frozen=True, slots=True)
class Policy:
    """The steps that a definition may contain."""

    max_steps: int
    more_steps: tuple[str, ...] = ()
    """Types of steps that the operator allows, in addition to steps.py."""

    def allows(self, kind: str) -> bool:
        """True for a type of step that may run."""
        return kind in ALLOWED or kind in self.more_steps

    def check(self, definition: Any) -> None:
        """Raises RefusedDefinition. A malformed definition may pass: the engine refuses it with a better message."""
        if not isinstance(definition, Mapping):
            raise RefusedDefinition("a workflow definition is a JSON object")
        if len(orjson.dumps(definition)) > MOST_BYTES:
            raise RefusedDefinition(f"the definition is longer than {MOST_BYTES} bytes")
        if definition.get("dynamic_blocks_definitions"):
            raise RefusedDefinition(
                "custom Python blocks (dynamic_blocks_definitions) do not run on this server"
            )
        for name in ("inputs", "outputs"):
            _count(definition.get(name), name, MOST_DECLARATIONS)
        for step in _count(definition.get("steps"), "steps", self.max_steps):
            self._check_step(step)

    def _check_step(self, step: Any) -> None:
        kind = step.get("type") if isinstance(step, Mapping) else None
        if not isinstance(kind, str):
            raise RefusedDefinition("each step of a workflow is an object with a `type`")
        if not self.allows(kind):
            name = str(step.get("name"))[:100]
            raise RefusedDefinition(
                f"step {name!r}: type {kind[:100]!r} does not run on this server. Of models it has SAM 3 alone "
                f"({', '.join(SAM3)}); beside them steps that only compute. Models of other kinds, steps that "
                "reach files, networks, secrets or the environment, custom code and nested workflows are refused. "
                "GET /workflows/blocks/describe lists the allowed types",
                (name, kind[:100]),
            )


def _count(items: Any, name: str, most: int) -> list[Any]:
    if items is None:
        return []
    if not isinstance(items, list):
        raise RefusedDefinition(f"`{name}` of a workflow is a list")
    if len(items) > most:
        raise RefusedDefinition(
            f"the definition has {len(items)} {name}, and {most} are the most that run here"
        )
    return items
