"""Makes generated requests that fit the document fit what a schema cannot say, so that they reach the segmenter."""

from typing import Any

import schemathesis
from schemathesis.generation import GenerationMode

from tests.support.scenes import as_json, encoded, scene

PICTURE = encoded(scene())


@schemathesis.hook
def map_case(context: Any, case: Any) -> Any:
    """Give valid requests a real image in place of random text, and prompts that agree with themselves."""
    valid = case.meta is None or case.meta.generation.mode == GenerationMode.POSITIVE
    if valid and isinstance(case.body, dict):
        case.body = _realistic(case.body)
    return case


def _realistic(body: dict[str, Any]) -> dict[str, Any]:
    body = dict(body)
    image = body.get("image")
    if isinstance(image, dict):
        body["image"] = as_json(PICTURE)
    elif isinstance(image, list) and all(isinstance(one, dict) for one in image):
        body["image"] = [as_json(PICTURE) for _ in image][:16]
        if len(image) > 1:
            body.pop("image_id", None)
    holder = body if "prompts" in body else body.get("request")
    if isinstance(holder, dict) and isinstance(holder.get("prompts"), list):
        holder["prompts"] = [_consistent(prompt) for prompt in holder["prompts"]]
    return body


def _consistent(prompt: Any) -> Any:
    if not isinstance(prompt, dict):
        return prompt
    boxes = prompt.get("boxes") or []
    if prompt.get("box_labels"):
        prompt = {**prompt, "box_labels": (prompt["box_labels"] * len(boxes))[: len(boxes)]}
    return {**prompt, "type": "text"} if prompt.get("type") == "visual" and not boxes else prompt
