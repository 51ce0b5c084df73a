"""From JSON to the segmenter's requests."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from deployments.protocol import ConceptRequest, VisualRequest
from sam3_engine.prompt_forms import corner_box
from sam3_engine.types import ConceptPrompt, Point, VisualPrompt
from serve_app.http.errors import UnsupportedFormat
from serve_app.http.sam3.concept import Sam3SegmentationFields
from serve_app.http.sam3.visual import Sam2SegmentationFields


def concept(**fields: Any) -> ConceptRequest:
    return Sam3SegmentationFields.model_validate(fields).to_request()


def visual(**fields: Any) -> VisualRequest:
    return Sam2SegmentationFields.model_validate(fields).to_request()


def test_concept_defaults() -> None:
    assert concept(prompts=[{"text": "dog"}]) == ConceptRequest(
        prompts=[ConceptPrompt("dog", (), (), 0.5)],
        mask_format="polygon",
        nms_iou_threshold=None,
        as_json=True,
    )


def test_concept_with_everything() -> None:
    asked = concept(
        prompts=[
            {"type": "text", "text": "dog", "output_prob_thresh": 0.25},
            {
                "type": "visual",
                "boxes": [
                    {"x": 1, "y": 2, "width": 3, "height": 4},
                    {"x0": 5, "y0": 6, "x1": 7.5, "y1": 8},
                    {"x0": 9, "y0": 9, "x1": 1, "y1": 1},
                ],
                "box_labels": [1, False, True],
            },
            {"text": " ", "boxes": [{"x": 0, "y": 0, "width": 0, "height": 0}]},
        ],
        output_prob_thresh=0.75,
        nms_iou_threshold=0.9,
        format="rle",
    )
    assert asked.prompts == [
        ConceptPrompt("dog", (), (), 0.25),
        ConceptPrompt(None, ((1, 2, 4, 6), (5, 6, 7.5, 8), (1, 1, 9, 9)), (True, False, True), 0.75),
        ConceptPrompt(None, ((0, 0, 0, 0),), (True,), 0.75),
    ]
    assert asked.mask_format == "rle"
    assert asked.nms_iou_threshold == 0.9


def test_a_threshold_of_zero_is_not_left_out() -> None:
    asked = concept(prompts=[{"text": "a", "output_prob_thresh": 0}, {"text": "b"}], output_prob_thresh=0.0)
    assert [prompt.score_threshold for prompt in asked.prompts] == [0, 0]


def test_a_box_with_the_keys_of_both_forms_is_refused_as_by_the_sdk() -> None:
    box = {"x": 50, "y": 50, "width": 1, "height": 1, "x0": 1, "y0": 2, "x1": 3, "y1": 4}
    with pytest.raises(ValidationError, match="not by both"):
        concept(prompts=[{"boxes": [box]}])
    with pytest.raises(ValueError, match="not by both"):
        corner_box(box)


@pytest.mark.parametrize("label", [0, 1, 0.0, 1.0, True, False])
def test_labels(label: Any) -> None:
    box = {"x": 1, "y": 1, "width": 1, "height": 1}
    assert concept(prompts=[{"boxes": [box], "box_labels": [label]}]).prompts[0].box_labels == (bool(label),)


def test_empty_labels_are_no_labels() -> None:
    box = {"x": 1, "y": 1, "width": 1, "height": 1}
    assert concept(prompts=[{"boxes": [box], "box_labels": []}]).prompts[0].box_labels == (True,)
    assert concept(prompts=[{"text": "a", "box_labels": []}]).prompts[0].boxes == ()


def test_visual_defaults() -> None:
    assert visual() == VisualRequest(
        [VisualPrompt()],
        mask_format="polygon",
        multimask=True,
        save_logits=False,
        load_logits=False,
        as_json=True,
    )
    assert not visual(format="binary").as_json


def test_visual_with_everything() -> None:
    asked = visual(
        prompts=[
            {"points": [{"x": 1, "y": 2, "positive": False}, {"x": 3, "y": 4}]},
            {"box": {"x": 10, "y": 20, "width": 4, "height": 6}},
            {"points": None, "box": None},
        ],
        format="binary",
        multimask_output=False,
        save_logits_to_cache=True,
        load_logits_from_cache=True,
    )
    assert asked.prompts == [
        VisualPrompt((Point(1, 2, False), Point(3, 4, True))),
        VisualPrompt((), (8, 17, 12, 23)),
        VisualPrompt(),
    ]
    assert (asked.mask_format, asked.multimask, asked.save_logits, asked.load_logits) == (
        "binary",
        False,
        True,
        True,
    )


ONE = {"points": [{"x": 1, "y": 2}]}


@pytest.mark.parametrize("prompts", [ONE, [ONE], {"prompts": [ONE]}, {"prompts": [ONE], "points": []}])
def test_forms_of_visual_prompts(prompts: Any) -> None:
    assert visual(prompts=prompts).prompts == [VisualPrompt((Point(1, 2, True),))]


@pytest.mark.parametrize(("name", "meant"), [("polygon", "polygon"), ("json", "polygon"), (None, "polygon")])
def test_names_of_formats(name: str | None, meant: str) -> None:
    assert concept(prompts=[{"text": "a"}], format=name).mask_format == meant
    assert visual(format=name).mask_format == meant


@pytest.mark.parametrize("name", ["", "png", "RLE", "x" * 1000])
def test_unsupported_formats(name: str) -> None:
    for ask in (lambda: concept(prompts=[{"text": "a"}], format=name), lambda: visual(format=name)):
        with pytest.raises(UnsupportedFormat) as raised:
            ask()
        assert len(str(raised.value)) < 150
    with pytest.raises(UnsupportedFormat):
        concept(prompts=[{"text": "a"}], format="binary")


numbers = st.floats(-1e9, 1e9) | st.integers(-(10**9), 10**9)


@given(numbers, numbers, numbers, numbers)
def test_corners_are_ordered_whatever_is_given(x0: float, y0: float, x1: float, y1: float) -> None:
    box = {"x0": x0, "y0": y0, "x1": x1, "y1": y1}
    (found,) = concept(prompts=[{"boxes": [box]}]).prompts[0].boxes
    assert found[0] <= found[2]
    assert found[1] <= found[3]
    assert sorted((x0, x1)) == [found[0], found[2]]


values = st.sampled_from(
    [None, True, 0, 1, -1, 0.5, 1e300, 10**400, float("inf"), float("nan"), "", "a", "rle"]
)
keys = st.sampled_from(
    ["prompts", "format", "points", "box", "boxes", "box_labels", "text", "type", "x", "x0", "image_id"]
)
shaped = st.recursive(
    values,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=5),
    max_leaves=20,
)


@given(st.dictionaries(keys, shaped, max_size=6))
def test_any_json_is_valid_or_told_why(document: dict[str, Any]) -> None:
    for fields in (Sam3SegmentationFields, Sam2SegmentationFields):
        with contextlib.suppress(ValidationError, UnsupportedFormat):
            fields.model_validate(document).to_request()
