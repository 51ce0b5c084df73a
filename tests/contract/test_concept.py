"""`POST /sam3/concept_segment`: it finds the concepts of a request, in the documented form."""

from typing import Any

import pytest
from pycocotools import mask as coco

from sam3_engine.types import Box
from tests.contract.conftest import Client, ServerFactory
from tests.support.scenes import (
    CIRCLE,
    HEIGHT,
    SECOND_CIRCLE,
    SQUARE,
    WIDTH,
    as_json,
    box_iou,
    encoded,
    polygon_box,
    ring,
    scene,
)

IMAGE = as_json(encoded(scene()))
RED = {"type": "text", "text": "red circle"}
BLUE = {"type": "text", "text": "blue square"}
GOOD = 0.7  # IoU with the drawn box: a trained model is good, not exact


def found_boxes(result: Any) -> list[Box]:
    return [polygon_box(one["masks"]) for one in result["predictions"]]


def assert_finds(result: Any, *boxes: Box) -> None:
    found = found_boxes(result)
    assert len(found) == len(boxes), found
    for box in boxes:
        assert max(box_iou(box, one) for one in found) > GOOD


def test_text_finds_every_instance(client: Client) -> None:
    answer = client.concept({"image": IMAGE, "prompts": [RED]})
    assert_finds(answer["prompt_results"][0], CIRCLE, SECOND_CIRCLE)


def test_the_answer_has_the_documented_fields(client: Client) -> None:
    answer = client.concept({"image": IMAGE, "prompts": [RED]})
    assert answer["time"] > 0
    result = answer["prompt_results"][0]
    assert result["prompt_index"] == 0
    assert result["echo"] == {"prompt_index": 0, "type": "text", "text": "red circle", "num_boxes": 0}
    for one in result["predictions"]:
        assert one["format"] == "polygon"
        assert 0.5 <= one["confidence"] <= 1
        assert all(type(value) is int for polygon in one["masks"] for point in polygon for value in point)


def test_predictions_have_box_and_area_and_are_sorted(client: Client) -> None:
    answer = client.concept({"image": IMAGE, "prompts": [RED]})
    predictions = answer["prompt_results"][0]["predictions"]
    confidences = [one["confidence"] for one in predictions]
    assert confidences == sorted(confidences, reverse=True)
    for one in predictions:
        assert one["box"] == dict(zip(("x0", "y0", "x1", "y1"), polygon_box(one["masks"]), strict=True))
        assert 0.5 * 80 * 80 < one["area"] < 80 * 80


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools with numpy 2
def test_the_box_and_the_area_are_those_of_the_mask(client: Client) -> None:
    """The answer has every query of the model, also at the borders."""
    prompt = {**RED, "output_prob_thresh": 0.0}
    answer = client.concept({"image": IMAGE, "prompts": [prompt], "format": "rle"})
    for one in answer["prompt_results"][0]["predictions"]:
        mask = coco.decode({**one["masks"], "counts": one["masks"]["counts"].encode()})
        ys, xs = mask.nonzero()
        assert one["box"] == {"x0": xs.min(), "y0": ys.min(), "x1": xs.max() + 1, "y1": ys.max() + 1}
        assert one["area"] == mask.sum()


def test_a_text_that_the_model_does_not_read_to_its_end_is_warned_of(client: Client) -> None:
    short, long = "red circle", "red circle " * 16
    answer = client.concept({"image": IMAGE, "prompts": [{"text": short}, {"text": long}]})
    warnings = [result["warnings"] for result in answer["prompt_results"]]
    assert warnings[0] == []
    (warning,) = warnings[1]
    assert "32 tokens" in warning
    assert "the first 30" in warning


def test_answers_tell_the_images_size(client: Client) -> None:
    answer = client.concept({"image": IMAGE, "prompts": [RED]})
    assert (answer["width"], answer["height"]) == (WIDTH, HEIGHT)


def test_an_absent_concept_is_an_empty_list(client: Client) -> None:
    answer = client.concept({"image": IMAGE, "prompts": [{"type": "text", "text": "green star"}]})
    assert answer["prompt_results"][0]["predictions"] == []


@pytest.mark.parametrize(
    "box",
    [
        {"x": CIRCLE[0], "y": CIRCLE[1], "width": 80, "height": 80},
        dict(zip(("x0", "y0", "x1", "y1"), CIRCLE, strict=True)),
        dict(zip(("x1", "y1", "x0", "y0"), CIRCLE, strict=True)),  # corners the other way round
    ],
    ids=["xywh", "xyxy", "swapped"],
)
def test_exemplar_boxes_in_both_forms(client: Client, box: Any) -> None:
    prompt = {"type": "visual", "boxes": [box], "box_labels": [1]}
    answer = client.concept({"image": IMAGE, "prompts": [prompt]})
    result = answer["prompt_results"][0]
    assert result["echo"] == {"prompt_index": 0, "type": "visual", "text": None, "num_boxes": 1}
    assert any(box_iou(CIRCLE, one) > GOOD for one in found_boxes(result))
    assert not any(box_iou(SQUARE, one) > 0.3 for one in found_boxes(result))


def test_text_and_exemplar_in_one_prompt(client: Client) -> None:
    box = {"x": CIRCLE[0], "y": CIRCLE[1], "width": 80, "height": 80}
    prompt = {"type": "text", "text": "red circle", "boxes": [box], "box_labels": [True]}
    answer = client.concept({"image": IMAGE, "prompts": [prompt]})
    result = answer["prompt_results"][0]
    assert result["echo"] == {"prompt_index": 0, "type": "visual", "text": "red circle", "num_boxes": 1}
    assert any(box_iou(CIRCLE, one) > GOOD for one in found_boxes(result))


@pytest.mark.parametrize("label", [0, False])
def test_a_negative_label_takes_away(client: Client, label: Any) -> None:
    keep = dict(zip(("x0", "y0", "x1", "y1"), SQUARE, strict=True))
    drop = dict(zip(("x0", "y0", "x1", "y1"), CIRCLE, strict=True))
    prompt = {"type": "visual", "boxes": [keep, drop], "box_labels": [1, label]}
    answer = client.concept({"image": IMAGE, "prompts": [prompt]})
    found = found_boxes(answer["prompt_results"][0])
    assert not any(box_iou(CIRCLE, one) > GOOD for one in found)


def test_boxes_without_labels_are_positive(client: Client) -> None:
    box = {"x": CIRCLE[0], "y": CIRCLE[1], "width": 80, "height": 80}
    with_labels = client.concept(
        {"image": IMAGE, "prompts": [{"type": "visual", "boxes": [box], "box_labels": [1]}]}
    )
    without = client.concept({"image": IMAGE, "prompts": [{"type": "visual", "boxes": [box]}]})
    assert without["prompt_results"] == with_labels["prompt_results"]


def test_the_type_is_a_hint_that_may_be_missing(client: Client) -> None:
    typed = client.concept({"image": IMAGE, "prompts": [RED]})
    untyped = client.concept({"image": IMAGE, "prompts": [{"text": "red circle"}]})
    odd = client.concept({"image": IMAGE, "prompts": [{"type": "concept", "text": "red circle"}]})
    assert typed["prompt_results"] == untyped["prompt_results"] == odd["prompt_results"]


def test_sixteen_prompts_answer_in_order(client: Client) -> None:
    prompts = [RED, BLUE] * 8
    answer = client.concept({"image": IMAGE, "prompts": prompts})
    results = answer["prompt_results"]
    assert [result["prompt_index"] for result in results] == list(range(16))
    assert [result["echo"]["text"] for result in results] == [prompt["text"] for prompt in prompts]
    for result in results[1::2]:
        assert_finds(result, SQUARE)


def test_the_requests_threshold_and_the_prompts_own(client: Client) -> None:
    strict = {"image": IMAGE, "prompts": [RED, {**RED, "output_prob_thresh": 0.0}], "output_prob_thresh": 1.0}
    first, second = client.concept(strict)["prompt_results"]
    assert first["predictions"] == []
    assert len(second["predictions"]) >= 2


def test_nms_works_across_prompts(client: Client) -> None:
    body = {"image": IMAGE, "prompts": [RED, {"type": "text", "text": "red circle"}]}
    both = client.concept(body)["prompt_results"]
    assert [len(result["predictions"]) for result in both] == [2, 2]
    kept = client.concept({**body, "nms_iou_threshold": 0.5})["prompt_results"]
    assert sum(len(result["predictions"]) for result in kept) == 2


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # pycocotools with numpy 2
def test_rle_is_coco_compressed(client: Client) -> None:
    answer = client.concept({"image": IMAGE, "prompts": [BLUE], "format": "rle"})
    (one,) = answer["prompt_results"][0]["predictions"]
    assert one["format"] == "rle"
    assert one["masks"]["size"] == [HEIGHT, WIDTH]
    mask = coco.decode({**one["masks"], "counts": one["masks"]["counts"].encode()})
    assert mask.shape == (HEIGHT, WIDTH)
    assert mask.sum() == one["area"]
    assert mask[70, 230] == 1
    assert mask[70, 70] == 0


def test_polygons_are_in_pixels_of_the_original(client: Client) -> None:
    large = as_json(encoded(scene().resize((WIDTH * 3, HEIGHT * 3))))
    answer = client.concept({"image": large, "prompts": [BLUE]})
    (found,) = found_boxes(answer["prompt_results"][0])
    assert box_iou([3 * side for side in SQUARE], found) > GOOD


def test_polygon_holes_carries_holes(start_server: ServerFactory) -> None:
    """The stand-in always answers here: `tiny` was never shown a ring."""
    body = {
        "image": as_json(encoded(ring())),
        "prompts": [{"type": "text", "text": "red"}],
        "format": "polygon_holes",
        "output_prob_thresh": 0.1,
    }
    with start_server() as url:
        (one,) = Client(url).concept(body)["prompt_results"][0]["predictions"]
    assert one["format"] == "polygon_holes"
    assert set(one["masks"][0]) == {"outer", "holes"}
    assert any(part["holes"] for part in one["masks"])


def test_json_is_another_name_for_polygon(client: Client) -> None:
    polygon = client.concept({"image": IMAGE, "prompts": [RED]})
    assert (
        client.concept({"image": IMAGE, "prompts": [RED], "format": "json"})["prompt_results"]
        == (polygon["prompt_results"])
    )


def test_null_means_the_same_as_a_missing_field(client: Client) -> None:
    fields = ("format", "image_id", "output_prob_thresh", "model_id", "nms_iou_threshold", "api_key")
    prompt = {
        "type": None,
        "text": "red circle",
        "boxes": None,
        "box_labels": None,
        "output_prob_thresh": None,
    }
    nulls = client.concept({"image": IMAGE, "prompts": [prompt], **dict.fromkeys(fields)})
    assert nulls["prompt_results"] == client.concept({"image": IMAGE, "prompts": [RED]})["prompt_results"]


@pytest.mark.parametrize("text", ["größe 猫 🐈", "\u202e\u0000 red", "a" * 1000, "red\ncircle"])
def test_any_text_is_answered(client: Client, text: str) -> None:
    answer = client.concept({"image": IMAGE, "prompts": [{"type": "text", "text": text}]})
    assert answer["prompt_results"][0]["echo"]["text"] == text


def test_a_box_may_reach_far_over_the_image_but_not_miss_it(client: Client) -> None:
    boxes = [
        {"x0": -1e9, "y0": -1e9, "x1": 1e9, "y1": 1e9},
        {"x": -9e8, "y": -9e8, "width": 1e9, "height": 1e9},
        {"x": 10, "y": 10, "width": 0, "height": 0},
    ]
    prompts = [{"type": "visual", "boxes": [box]} for box in boxes]
    client.concept({"image": IMAGE, "prompts": prompts})
    for x in (1e9, -6, -5):
        beside = {"type": "visual", "boxes": [{"x": x, "y": 0, "width": 5, "height": 5}]}
        (problem,) = client.concept({"image": IMAGE, "prompts": [*prompts, beside]}, 422)["detail"]
        assert problem["loc"] == ["body", "prompts", 3]
        assert "lies outside the image" in problem["msg"]
