"""Makes generated requests that fit the document fit what a schema cannot say, so that they reach the segmenter."""

from typing import Any

import schemathesis
from schemathesis.generation import GenerationMode

from sam3_engine.image_ids import MAX_ID_CHARACTERS
from tests.support.scenes import HEIGHT, WIDTH, as_json, encoded, scene

PICTURE = encoded(scene())
NAMED = "picture-"
"""Begins the ids of valid requests: such an id never names another image, nor a digest."""
SIDES = {"x": WIDTH, "x0": WIDTH, "x1": WIDTH, "y": HEIGHT, "y0": HEIGHT, "y1": HEIGHT}

CLICK = {"points": [{"x": 44, "y": 48}]}
CORNERS = {"x0", "y0", "x1", "y1"}
CENTRE = {"x", "y", "width", "height"}


@schemathesis.hook
def map_case(context: Any, case: Any) -> Any:
    """Give valid requests a real image in place of random text, and prompts that agree with themselves."""
    valid = case.meta is None or case.meta.generation.mode == GenerationMode.POSITIVE
    if valid and isinstance(case.body, dict):
        case.body = _realistic(case.body)
        if "/video/" in case.path:
            case.body = _followed(case.body)
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
    if isinstance(body.get("image_id"), str) and body["image_id"]:
        body["image_id"] = f"{NAMED}{body['image_id']}"[:MAX_ID_CHARACTERS]
    holder = body if "prompts" in body else body.get("request")
    if isinstance(holder, dict):
        holder["prompts"] = _consistent(holder.get("prompts"))
    return body


def _followed(body: dict[str, Any]) -> dict[str, Any]:
    """Prompts of a video each mark a place, and a request has one at least."""
    if isinstance(body.get("prompts"), list):
        marked = [one if one.get("points") or one.get("box") else {**one, **CLICK} for one in body["prompts"]]
        body = {**body, "prompts": [{**one, "remove": False} for one in marked]}
    return body if body.get("prompts") or body.get("texts") else {**body, "texts": [{"text": "red"}]}


def _consistent(prompt: Any) -> Any:
    """A prompt, a list of them, or a document that holds them."""
    if isinstance(prompt, list):
        return [_consistent(one) for one in prompt]
    if not isinstance(prompt, dict):
        return prompt
    if "prompts" in prompt:
        return {**prompt, "prompts": _consistent(prompt["prompts"])}
    places = {name: _inside(prompt[name]) for name in ("boxes", "box", "points") if prompt.get(name)}
    prompt = {**prompt, **places}
    boxes = prompt.get("boxes") or []
    if prompt.get("box_labels"):
        prompt = {**prompt, "box_labels": (prompt["box_labels"] * len(boxes))[: len(boxes)]}
    return {**prompt, "type": "text"} if prompt.get("type") == "visual" and not boxes else prompt


def _inside(places: Any) -> Any:
    """A place, or a list of them, moved into the image: the remainder of a tiny negative number is the side itself.

    A box in one of the two forms loses further properties that are of the other one.
    """
    if isinstance(places, list):
        return [_inside(place) for place in places]
    if not isinstance(places, dict):
        return places
    others = CENTRE if places.keys() >= CORNERS else CORNERS
    places = {name: value for name, value in places.items() if name not in others}
    return {
        name: min(value % SIDES[name], SIDES[name] - 1)
        if name in SIDES and isinstance(value, int | float)
        else value
        for name, value in places.items()
    }
