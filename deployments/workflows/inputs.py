"""Finds the images among a workflow's inputs, as the definition declares them, and replaces them."""

from collections.abc import Iterator, Mapping
from typing import Any

IMAGE_TYPES = ("InferenceImage", "WorkflowImage")
BATCH_TYPE = "WorkflowBatchInput"
DEEPEST = 8
"""Depth of nested batches. The engine itself refuses deeper ones."""

Path = tuple[str | int, ...]


def image_names(definition: Mapping[str, Any]) -> list[str]:
    """Names of the inputs that a definition declares as images. The engine itself refuses malformed declarations."""
    declared = definition.get("inputs")
    if not isinstance(declared, list):
        return []
    return [one["name"] for one in declared if isinstance(one, dict) and _holds_images(one)]


def images_in(definition: Mapping[str, Any], inputs: Mapping[str, Any]) -> Iterator[tuple[Path, Any]]:
    """Each image of a run: its path in the inputs, and the value that the client sent."""
    for name in dict.fromkeys(image_names(definition)):
        if name in inputs:
            yield from _walk((name,), inputs[name])


def put(inputs: Any, path: Path, value: Any) -> None:
    """Set the value at a path."""
    for key in path[:-1]:
        inputs = inputs[key]
    inputs[path[-1]] = value


def _holds_images(declared: dict[str, Any]) -> bool:
    if not isinstance(declared.get("name"), str):
        return False
    if declared.get("type") in IMAGE_TYPES:
        return True
    kinds = declared.get("kind")
    names = [kind.get("name") if isinstance(kind, dict) else kind for kind in _list(kinds)]
    return declared.get("type") == BATCH_TYPE and "image" in names


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _walk(path: Path, value: Any) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, list) and len(path) <= DEEPEST:
        for index, item in enumerate(value):
            yield from _walk((*path, index), item)
    elif value is not None:
        yield path, value
