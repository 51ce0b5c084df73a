from typing import Any

import orjson
import pytest

from loadtest.checks import Found, Wrong, check
from loadtest.corpus import Corpus
from loadtest.scenarios import Ask, click, concept, embed
from sam3_engine.types import ImageSize

(PICTURE,) = Corpus.draw(1, 1, ImageSize(120, 160)).pictures
ASK = concept("concept", PICTURE, b"", ["circle"])
POINT = {"x": 1.0, "y": 2.0, "positive": True}
CLICK = click(PICTURE, b"", "name", {"points": [POINT]})
CIRCLE = Found(0.9, (10.0, 10.0, 30.0, 30.0), 300)
REFERENCE = {"0 circle": [CIRCLE], "0 [(1.0, 2.0)]": [CIRCLE]}


def mask(score: float = 0.9, x0: float = 10.0, area: int = 300, **changes: Any) -> dict[str, Any]:
    box = {"x0": x0, "y0": 10.0, "x1": 30.0, "y1": 30.0}
    return {
        "format": "polygon",
        "confidence": score,
        "masks": [[[10, 10], [30, 30]]],
        "box": box,
        "area": area,
        **changes,
    }


def answer(*masks: dict[str, Any], **changes: Any) -> bytes:
    result = {"prompt_index": 0, "echo": {"text": "circle"}, "predictions": list(masks)}
    return orjson.dumps({"prompt_results": [result], "time": 0.1, "image_id": "name", **changes})


def test_right_answers_pass() -> None:
    check(ASK, answer(mask()), REFERENCE)
    check(ASK, answer(mask(0.91, 10.5, 304)), REFERENCE)
    check(CLICK, answer(mask()), REFERENCE)
    check(ASK, answer(mask(0.1)), {})
    check(ASK, answer(mask(), mask(0.51, 50.0)), REFERENCE)  # at the threshold, one may come or go


@pytest.mark.parametrize(
    ("ask", "body", "problem"),
    [
        (ASK, b"no json", "malformed"),
        (ASK, b"{}", "malformed"),
        (ASK, b"[]", "malformed"),
        (ASK, orjson.dumps({"prompt_results": [], "time": 0.1}), "other prompts"),
        (ASK, answer(), "missing"),
        (ASK, answer(mask(x0=20.0)), "missing"),
        (ASK, answer(mask(area=400)), "missing"),
        (ASK, answer(mask(0.5)), "missing"),
        (ASK, answer(mask(), mask(x0=50.0)), "too many"),
        (ASK, answer(mask(1.5)), "confidence"),
        (ASK, answer(mask(format="rle")), "format"),
        (ASK, answer(mask(masks=[[[10, 120]]])), "beyond the image"),
        (CLICK, answer(mask(), mask()), "not one mask"),
        (CLICK, answer(mask(), image_id="other"), "another image_id"),
        (embed(PICTURE, b"", "name"), b'{"image_id": "other"}', "another image_id"),
    ],
)
def test_wrong_answers_are_found(ask: Ask, body: bytes, problem: str) -> None:
    with pytest.raises(Wrong, match=problem):
        check(ask, body, REFERENCE)
