"""The reference answers: each prompt's answer on each picture, one request at a time before the load begins."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import httpx
import numpy as np
import orjson

from loadtest.checks import Found, answers
from loadtest.corpus import CONCEPTS, Corpus, Picture
from loadtest.scenarios import CONCEPT, KNOWN, VISUAL, Ask, concept, known, text_prompt

PROMPTS = 16
"""Most concepts in one request."""


@dataclass(frozen=True)
class Quiet:
    """The reference of one server, and its agreement with the drawings."""

    found: dict[str, list[Found]]
    click_iou: float
    """Mean IoU of the clicked masks with the drawn shapes."""

    def write(self, path: Path) -> None:
        """Write the masks to a file, for the load generator."""
        plain = {name: [(f.score, f.box, f.area) for f in found] for name, found in self.found.items()}
        path.write_text(json.dumps(plain))


def ask_quietly(url: str, corpus: Corpus, api_key: str = "") -> Quiet:
    """Send every prompt of the scenarios for every picture. Raises Wrong, and httpx's errors."""
    found: dict[str, list[Found]] = {}
    overlaps: list[float] = []
    with _client(url, api_key) as client:
        for picture in corpus.pictures:
            for ask in _asks(picture):
                body = client.post(ask.route, json=ask.document).raise_for_status().content
                found |= answers(ask, body)
                if ask.route == VISUAL:
                    overlaps += _overlaps(picture, body)
    return Quiet(found, float(np.mean(overlaps)))


def warm(url: str, corpus: Corpus, api_key: str = "") -> None:
    """Have the images of `concept-hot` encoded. Raises httpx's errors."""
    with _client(url, api_key) as client:
        for number in range(KNOWN):
            picture, file = known(corpus, number)
            ask = concept("warm", picture, file, [CONCEPTS[0]])
            client.post(ask.route, json=ask.document).raise_for_status()


def _client(url: str, api_key: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    return httpx.Client(base_url=url, headers=headers, timeout=150.0)


def _asks(picture: Picture) -> Iterator[Ask]:
    file = picture.file(picture.name)
    clicks = [{"points": [{"x": x, "y": y, "positive": True}]} for x, y in picture.clicks]
    yield Ask("click", VISUAL, {"image_id": picture.name, "prompts": clicks}, (picture,), (file,))
    for start in range(0, len(CONCEPTS), PROMPTS):
        prompts = [text_prompt(text) for text in CONCEPTS[start : start + PROMPTS]]
        yield Ask("concept", CONCEPT, {"prompts": prompts}, (picture,), (file,))


def _overlaps(picture: Picture, body: bytes) -> list[float]:
    """IoU of each click's mask with the clicked shape."""
    found = []
    for index, result in enumerate(orjson.loads(body)["prompt_results"]):
        drawn = picture.scene.mask(index, picture.scene.size)
        mask = np.zeros(drawn.shape, np.uint8)
        polygons = [np.array(polygon, np.int32) for polygon in result["predictions"][0]["masks"]]
        cv2.fillPoly(mask, polygons, 1)
        found.append(float((drawn & (mask > 0)).sum() / (drawn | (mask > 0)).sum()))
    return found


def agreement(one: Quiet, other: Quiet) -> float:
    """The share of prompts for which two servers found the same masks, small differences allowed."""
    loose = [
        len(found) == len(other.found[name])
        and all(_alike(a, b) for a, b in zip(_by_place(found), _by_place(other.found[name]), strict=True))
        for name, found in one.found.items()
        if name in other.found
    ]
    return float(np.mean(loose))


def _by_place(found: list[Found]) -> list[Found]:
    return sorted(found, key=lambda one: (round(one.box[0] / 8), round(one.box[1] / 8)))


def _alike(a: Found, b: Found) -> bool:
    # Servers resize images in their own ways: boxes and areas differ by a few per cent of a shape.
    near = replace(a, score=b.score)
    return all(abs(p - q) <= 6 for p, q in zip(near.box, b.box, strict=True)) and abs(a.area - b.area) <= max(
        60.0, 0.06 * b.area
    )
