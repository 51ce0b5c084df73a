"""Bodies of answers: JSON and .npz."""

import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from deployments.protocol import Answer
from deployments.results import JsonText
from sam3_engine.types import ConceptResult, ImageSize, Instance
from serve_app.http.errors import TooLarge
from serve_app.http.sam3 import npz as npz_module
from serve_app.http.sam3.concept import Sam3SegmentationFields, concept_body
from serve_app.http.sam3.masks import answer_json
from serve_app.http.sam3.npz import npz
from serve_app.http.sam3.visual import visual_body

SIZE = ImageSize(4, 5)


def instance(score: float = 0.5, masks: object = None) -> Instance:
    return Instance(score, (1.0, 2.0, 3.0, 4.0), 7, masks if masks is not None else [[[1, 2], [3, 4]]])


def decoded(bodies: Any, listed: bool = False) -> Any:
    return json.loads(bytes(answer_json(bodies, listed).body))


def test_concept_body() -> None:
    fields = Sam3SegmentationFields.model_validate({"prompts": [{"text": "a"}, {"text": "b"}]})
    results = [ConceptResult([instance()], ("the text was cut",)), ConceptResult([])]
    answer: Answer[Sequence[ConceptResult]] = Answer("id", SIZE, results)
    assert decoded([concept_body(fields, answer, "polygon", 0.25)]) == {
        "prompt_results": [
            {
                "prompt_index": 0,
                "echo": {"prompt_index": 0, "type": "text", "text": "a", "num_boxes": 0},
                "warnings": ["the text was cut"],
                "predictions": [
                    {
                        "format": "polygon",
                        "confidence": 0.5,
                        "masks": [[[1, 2], [3, 4]]],
                        "box": {"x0": 1.0, "y0": 2.0, "x1": 3.0, "y1": 4.0},
                        "area": 7,
                    }
                ],
            },
            {
                "prompt_index": 1,
                "echo": {"prompt_index": 1, "type": "text", "text": "b", "num_boxes": 0},
                "warnings": [],
                "predictions": [],
            },
        ],
        "time": 0.25,
        "image_id": "id",
        "width": 5,
        "height": 4,
    }


def test_masks_that_are_json_already_are_put_in_as_they_are() -> None:
    fields = Sam3SegmentationFields.model_validate({"prompts": [{"text": "a"}]})
    plain, written = instance(), instance(masks=JsonText(b"[[[1,2],[3,4]]]"))
    bodies = [
        [concept_body(fields, Answer("id", SIZE, [ConceptResult([one])]), "polygon", 0.25)]
        for one in (plain, written)
    ]
    assert answer_json(bodies[0], False).body == answer_json(bodies[1], False).body
    clicks = [[visual_body(Answer("id", SIZE, [one]), "polygon", 0.25)] for one in (plain, written)]
    assert answer_json(clicks[0], False).body == answer_json(clicks[1], False).body


def test_a_missing_result_is_not_passed_over() -> None:
    fields = Sam3SegmentationFields.model_validate({"prompts": [{"text": "a"}, {"text": "b"}]})
    with pytest.raises(ValueError):
        concept_body(fields, Answer("id", SIZE, [ConceptResult([])]), "polygon", 0)


def test_visual_body_says_everything_twice() -> None:
    body = decoded([visual_body(Answer("id", SIZE, [instance(0.1), instance(0.9)]), "rle", 1.0)])
    assert [one["confidence"] for one in body["predictions"]] == [0.1, 0.9]  # prompt order, not by score
    assert body["prompt_results"] == [
        {"prompt_index": index, "predictions": [one]} for index, one in enumerate(body["predictions"])
    ]
    assert {key: body[key] for key in ("time", "image_id", "width", "height")} == {
        "time": 1.0,
        "image_id": "id",
        "width": 5,
        "height": 4,
    }


def test_lists() -> None:
    body = {"image_id": "id", "time": 1.0}
    assert decoded([body]) == body
    assert decoded([body], listed=True) == [body]
    assert decoded([body, body], listed=True) == [body, body]


def test_numpy_numbers_are_written() -> None:
    values: tuple[Any, ...] = (np.float32(0.5), (np.float32(1), 2, 3, 4), np.int64(3), [[[np.int32(1), 2]]])
    odd = Instance(*values)
    body = decoded([visual_body(Answer("id", SIZE, [odd]), "polygon", 0.0)])
    assert body["predictions"][0]["area"] == 3


def test_npz() -> None:
    masks = [np.eye(4, 5, dtype=np.bool_), np.zeros((4, 5), dtype=np.bool_)]
    logits = np.full((2, 2), -1.5, dtype=np.float32)
    results = [Instance(0.25, (0, 0, 0, 0), 0, mask, logits) for mask in masks]
    with np.load(io.BytesIO(npz(Answer("id", SIZE, results))), allow_pickle=False) as arrays:
        assert np.array_equal(arrays["masks"], np.stack(masks))
        assert arrays["confidences"].tolist() == [0.25, 0.25]
        assert arrays["low_res_logits"].tolist() == [logits.tolist()] * 2


def test_npz_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npz_module, "MAX_MASK_BYTES", 39)
    results = [
        Instance(0.25, (0, 0, 0, 0), 0, np.zeros((4, 5), dtype=np.bool_), np.zeros((2, 2), dtype=np.float32))
    ] * 2
    with pytest.raises(TooLarge):
        npz(Answer("id", SIZE, results))
