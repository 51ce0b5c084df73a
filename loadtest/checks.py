"""Checks the form of an answer, and compares its masks with the server's reference.

The reference is the server's own answer to the same pixels and prompts before the load, one request at a time. Batching
changes the last bits of a score, so an instance at the threshold may appear or disappear. Other changes are errors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from loadtest.corpus import Picture
from loadtest.scenarios import EMBED, VISUAL, Ask

THRESHOLD = 0.5
SCORE, PIXELS, AREA = 0.02, 1.5, 0.02
"""Tolerances of a score, of a box's corner (in pixels) and of an area (as a share, beyond 4 pixels)."""


@dataclass(frozen=True)
class Found:
    """The score, box and area of one mask."""

    score: float
    box: tuple[float, float, float, float]
    area: int

    def same(self, other: "Found") -> bool:
        """True if both are the same mask, within the tolerances of score, box and area."""
        return (
            abs(self.score - other.score) <= SCORE
            and all(abs(a - b) <= PIXELS for a, b in zip(self.box, other.box, strict=True))
            and abs(self.area - other.area) <= AREA * other.area + 4
        )


Reference = Mapping[str, Sequence[Found]]
"""The masks of each prompt on each picture, by `key`."""


class Wrong(Exception):
    """An answer is wrong: its form, or its masks."""


def key(picture: Picture, prompt: Mapping[str, Any]) -> str:
    """The name of a prompt on a picture."""
    asked = prompt.get("text") or [(point["x"], point["y"]) for point in prompt["points"]]
    return f"{picture.number} {asked}"


def answers(ask: Ask, body: bytes) -> dict[str, list[Found]]:
    """The masks of an answer, by prompt. Raises Wrong for a wrong form."""
    try:
        document = orjson.loads(body)
        if ask.route == EMBED:
            _expect(document["image_id"] == ask.fields["image_id"], "another image_id")
            return {}
        documents = document if len(ask.pictures) > 1 else [document]
        _expect(len(documents) == len(ask.pictures), "another number of answers")
        found: dict[str, list[Found]] = {}
        for picture, one in zip(ask.pictures, documents, strict=True):
            found |= _of_picture(ask, picture, one)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise Wrong(f"malformed answer: {type(error).__name__}: {error}") from None
    return found


def check(ask: Ask, body: bytes, reference: Reference) -> None:
    """Raises Wrong when an answer's form or masks are wrong. Prompts without a reference are not compared."""
    for name, found in answers(ask, body).items():
        if name in reference:
            _compare(name, found, reference[name])


def _of_picture(ask: Ask, picture: Picture, document: Any) -> dict[str, list[Found]]:
    prompts = ask.fields["prompts"]
    results = document["prompt_results"]
    _expect(isinstance(document["time"], float), "no time")
    _expect([result["prompt_index"] for result in results] == list(range(len(prompts))), "other prompts")
    if ask.route == VISUAL:
        _expect([len(result["predictions"]) for result in results] == [1] * len(prompts), "not one mask")
        _expect(
            document.get("image_id", ask.fields["image_id"]) == ask.fields["image_id"], "another image_id"
        )
    found = {}
    for prompt, result in zip(prompts, results, strict=True):
        if ask.route != VISUAL:
            _expect(result["echo"]["text"] == prompt["text"], "another text")
        found[key(picture, prompt)] = [_found(picture, mask) for mask in result["predictions"]]
    return found


def _found(picture: Picture, mask: Any) -> Found:
    height, width = picture.scene.size
    score, box = mask["confidence"], mask["box"]
    _expect(mask["format"] == "polygon", "another format")
    _expect(0.0 <= score <= 1.0, "a confidence beyond 0..1")
    for polygon in mask["masks"]:
        _expect(all(0 <= x < width and 0 <= y < height for x, y in polygon), "a point beyond the image")
    return Found(score, (box["x0"], box["y0"], box["x1"], box["y1"]), mask["area"])


def _compare(name: str, found: Sequence[Found], expected: Sequence[Found]) -> None:
    left = list(found)
    for one in expected:
        match = next((other for other in left if other.same(one)), None)
        if match is not None:
            left.remove(match)
        elif one.score >= THRESHOLD + SCORE or VISUAL_KEY in name:
            raise Wrong(f"{name}: a mask is missing or another one: {one}, got {list(found)}")
    extra = [one for one in left if one.score >= THRESHOLD + SCORE]
    if extra:
        raise Wrong(f"{name}: masks too many: {extra}")


VISUAL_KEY = " [("
"""Part of every click's key. A click has exactly one mask, whatever its score."""


def _expect(holds: bool, problem: str) -> None:
    if not holds:
        raise Wrong(problem)
