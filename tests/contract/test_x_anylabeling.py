"""The remote server of X-AnyLabeling, asked as its client asks (`services/auto_labeling/remote_server.py` of 4.2.1)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import requests

from serve_app.http.tenants import keyfile
from tests.contract.conftest import Client, ServerFactory, own_server
from tests.support.fake_segmenter import FakeSegmenter
from tests.support.patience import PATIENCE_S
from tests.support.scenes import (
    CIRCLE,
    HEIGHT,
    SECOND_CIRCLE,
    SQUARE,
    WIDTH,
    as_json,
    drawn,
    encoded,
    mask_iou,
    scene,
)

# pycocotools.mask.decode knows no numpy 2 yet.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
)

PICTURE = "data:image/png;base64," + as_json(encoded(scene()))["value"]
CONCEPTS, CLICKS, VIDEO = "segment_anything_3", "segment_anything_3_clicks", "segment_anything_3_video"
CONTROLS = {
    *("edit_text", "button_send", "add_pos_rect", "add_neg_rect", "button_run_rect", "button_clear"),
    *("button_finish_object", "input_conf", "edit_conf", "mask_fineness_slider", "mask_fineness_value_label"),
    *("toggle_preserve_existing_annotations", "button_add_point", "button_remove_point", "button_add_rect"),
}
"""Controls of the program that these models use; it warns of others."""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with own_server(tools="x-anylabeling") as address:
        yield address


def predict(url: str, model: str, expect: int = 200, options: Any = None, **params: Any) -> Any:
    """Send a request as the client does: its thresholds are always there."""
    body = {
        "model": model,
        "image": PICTURE,
        "params": {"conf_threshold": 0.25, "iou_threshold": 0.0, "epsilon_factor": 0.001, **params},
    }
    return Client(url).post("/v1/predict", body, expect, **(options or {}))


def shapes(url: str, model: str, **params: Any) -> list[dict[str, Any]]:
    answer = predict(url, model, **params)
    assert answer["success"] is True
    found: list[dict[str, Any]] = answer["data"]["shapes"]
    return found


def point(x: float, y: float, label: int = 1) -> dict[str, Any]:
    return {"type": "point", "data": [x, y], "label": label}


def rectangle(box: tuple[float, ...], label: int = 1) -> dict[str, Any]:
    return {"type": "rectangle", "data": list(box), "label": label}


def filled(shape: dict[str, Any]) -> npt.NDArray[np.bool_]:
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    cv2.fillPoly(mask, [np.round(np.array(shape["points"]) - 0.5).astype(np.int32)], 1)
    return mask.astype(np.bool_)


def iou(shape: dict[str, Any], truth: npt.NDArray[np.bool_]) -> float:
    return mask_iou(filled(shape), truth)


RED, BLUE = drawn("red"), drawn("blue")
FIRST = RED & (np.arange(HEIGHT)[:, None] < 130)


def test_the_models_and_their_controls(url: str) -> None:
    found = requests.get(f"{url}/v1/models", headers={"Token": ""}, timeout=PATIENCE_S).json()
    assert found["success"] is True
    assert list(found["data"]) == [CONCEPTS, CLICKS, VIDEO]
    for model in found["data"].values():
        assert {widget["name"] for widget in model["widgets"]} <= CONTROLS
    # Whole folders are labelled by text, and never by clicks.
    assert found["data"][CONCEPTS]["batch_processing_mode"] == "text_prompt"
    assert found["data"][CLICKS]["batch_processing_mode"] is None


def test_the_routes_are_there_only_where_they_are_switched_on(server: str) -> None:
    assert requests.get(f"{server}/v1/models", timeout=PATIENCE_S).status_code == 404


def test_phrases_are_labels(url: str) -> None:
    found = shapes(url, CONCEPTS, text_prompt="red circle, blue square. red circle")
    assert [shape["label"] for shape in found] == ["red circle", "red circle", "blue square"]
    assert {shape["shape_type"] for shape in found} == {"polygon"}
    assert iou(found[2], BLUE) > 0.99
    for shape in found:
        assert shape["points"][0] == shape["points"][-1]
        assert 0.25 <= shape["score"] <= 1
        assert shape["group_id"] is None


def test_boxes_beside_or_in_place_of_masks(url: str) -> None:
    (box,) = shapes(url, CONCEPTS, text_prompt="blue", show_boxes=True, show_masks=False)
    x0, y0, x1, y1 = SQUARE
    assert box["shape_type"] == "rectangle"
    assert box["points"] == [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]
    both = shapes(url, CONCEPTS, text_prompt="blue", show_boxes=True)
    assert [shape["shape_type"] for shape in both] == ["polygon", "rectangle"]


def test_a_threshold(url: str) -> None:
    assert len(shapes(url, CONCEPTS, text_prompt="red", conf_threshold=0.895)) == 1


def test_a_coarser_outline_has_fewer_corners(url: str) -> None:
    fine, coarse = (
        shapes(url, CONCEPTS, text_prompt="red", epsilon_factor=factor)[0]["points"] for factor in (0, 0.02)
    )
    assert len(coarse) < len(fine)


def test_example_rectangles(url: str) -> None:
    like = shapes(url, CONCEPTS, marks=[rectangle(CIRCLE)])
    assert len(like) == 2
    assert {shape["label"] for shape in like} == {"AUTOLABEL_OBJECT"}
    (unlike,) = shapes(url, CONCEPTS, marks=[rectangle(CIRCLE), rectangle(SECOND_CIRCLE, 0)])
    assert iou(unlike, FIRST) > 0.95
    named = shapes(url, CONCEPTS, marks=[rectangle(CIRCLE)], text_prompt="ball")
    assert {shape["label"] for shape in named} == {"ball"}


@pytest.mark.parametrize(
    "marks",
    [
        [point(70, 80)],
        [rectangle((28, 38, 112, 122))],
        [rectangle((112, 122, 28, 38))],
        [point(70, 80), point(150, 190, 0)],
        [rectangle((28, 38, 112, 122)), point(70, 80)],
    ],
)
def test_clicks_and_a_box_are_one_object_to_be_named(url: str, marks: Any) -> None:
    answer = predict(url, CLICKS, marks=marks)
    (shape,) = answer["data"]["shapes"]
    assert shape["label"] == "AUTOLABEL_OBJECT"
    assert iou(shape, FIRST) > 0.95
    assert answer["data"]["replace"] is False


def test_clicks_reach_the_model_as_they_are() -> None:
    segmenter = FakeSegmenter()
    with own_server(segmenter, tools="x-anylabeling") as address:
        shapes(address, CLICKS, marks=[point(70, 80), point(5, 6, 0), rectangle(CIRCLE)])
        shapes(address, CONCEPTS, text_prompt="red")
    (prompt,) = segmenter.asked[0].prompts  # type: ignore[union-attr]
    assert prompt.points == ((70, 80, True), (5, 6, False))
    assert prompt.box == CIRCLE
    assert segmenter.encoded == 1


def test_a_click_on_nothing_has_no_shape(url: str) -> None:
    assert shapes(url, CLICKS, marks=[point(5, 5)]) == []


@pytest.mark.parametrize(
    ("model", "params", "status", "code", "say"),
    [
        ("yolo", {}, 404, "MODEL_NOT_FOUND", "the models are"),
        (CONCEPTS, {}, 422, "INFERENCE_ERROR", "a phrase"),
        (CONCEPTS, {"text_prompt": " , ."}, 422, "INFERENCE_ERROR", "a phrase"),
        (CONCEPTS, {"text_prompt": 5}, 422, "INFERENCE_ERROR", "text_prompt"),
        (CONCEPTS, {"text_prompt": ",".join(map(str, range(65)))}, 422, "INFERENCE_ERROR", "64 phrases"),
        (CONCEPTS, {"text_prompt": "a", "conf_threshold": 2}, 422, "INFERENCE_ERROR", "conf_threshold"),
        (CONCEPTS, {"marks": [point(1, 1)]}, 422, "INFERENCE_ERROR", "a rectangle is needed"),
        (CONCEPTS, {"marks": [rectangle((1, 2, 3))]}, 422, "INFERENCE_ERROR", "4 numbers"),
        (CLICKS, {"text_prompt": "red"}, 422, "INFERENCE_ERROR", "a click"),
        (CLICKS, {"marks": [{"type": "circle", "data": [1, 2]}]}, 422, "INFERENCE_ERROR", "marks.0.type"),
        (
            CLICKS,
            {"marks": [{"type": "point", "data": [1, 2, 3], "label": 1}]},
            422,
            "INFERENCE_ERROR",
            "2 n",
        ),
        (CLICKS, {"marks": [point(WIDTH * 2, 1)]}, 422, "INFERENCE_ERROR", "outside the image"),
    ],
)
def test_errors_are_in_the_programs_form(
    url: str, model: str, params: Any, status: int, code: str, say: str
) -> None:
    """Errors have their statuses: the program shows these, and takes 200 for an answer without shapes."""
    refused = predict(url, model, expect=status, **params)
    assert refused["success"] is False
    assert refused["error"]["code"] == code
    assert say in refused["error"]["message"]


@pytest.mark.parametrize("image", ["", "~", "data:image/png;base64,", as_json(b"no image")["value"]])
def test_an_image_that_cannot_be_read(url: str, image: str) -> None:
    body = {"model": CLICKS, "image": image, "params": {"marks": [point(1, 1)]}}
    assert Client(url).post("/v1/predict", body, expect=400)["error"]["code"] == "INVALID_IMAGE"


def test_the_key_is_the_header_token(tmp_path: Path, start_server: ServerFactory) -> None:
    key_file = tmp_path / "keys.json"
    key = keyfile.add(key_file, "acme")
    segmenter = FakeSegmenter()
    with start_server(segmenter, tools="x-anylabeling", api_keys_file=key_file) as address:
        assert predict(address, CLICKS, options={"headers": {"Token": key}}, marks=[point(70, 80)])["success"]
        for headers in ({}, {"Token": ""}, {"Token": "wrong"}):
            refused = predict(address, CLICKS, 401, {"headers": headers}, marks=[point(70, 80)])
            assert refused["error"] == {"code": "UNAUTHORIZED", "message": "Unauthorized api_key"}
            listed = requests.get(f"{address}/v1/models", headers=headers, timeout=PATIENCE_S)
            assert listed.status_code == 401
        # The other routes read no such header.
        body = {"image": as_json(encoded(scene()))}
        Client(address).embed(body, expect=401, headers={"Token": key})
    assert segmenter.tenants == ["acme"]
