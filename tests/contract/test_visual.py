"""`POST /sam3/visual_segment`: one mask per prompt, from clicks and boxes, in every form that clients send."""

import io
from typing import Any

import numpy as np
import pytest
import requests

from tests.contract.conftest import Client
from tests.support.patience import PATIENCE_S
from tests.support.scenes import CIRCLE, HEIGHT, SQUARE, WIDTH, as_json, box_iou, encoded, polygon_box, scene

IMAGE = as_json(encoded(scene()))
GOOD = 0.7


def centre(box: Any) -> dict[str, float]:
    return {"x": (box[0] + box[2]) / 2, "y": (box[1] + box[3]) / 2}


def centred(box: Any) -> dict[str, float]:
    return {**centre(box), "width": box[2] - box[0], "height": box[3] - box[1]}


CLICK = {"points": [{**centre(CIRCLE), "positive": True}]}
BOX = {"box": centred(SQUARE)}


def assert_shows(prediction: Any, box: Any) -> None:
    assert box_iou(box, polygon_box(prediction["masks"])) > GOOD


def test_a_click_gives_one_mask(client: Client) -> None:
    answer = client.visual({"image": IMAGE, "prompts": [CLICK]})
    (one,) = answer["predictions"]
    assert one["format"] == "polygon"
    assert 0 <= one["confidence"] <= 1
    assert_shows(one, CIRCLE)
    assert answer["time"] > 0
    assert answer["image_id"]


def test_predictions_and_prompt_results_are_the_same(client: Client) -> None:
    answer = client.visual({"image": IMAGE, "prompts": [CLICK, BOX]})
    assert answer["prompt_results"] == [
        {"prompt_index": index, "predictions": [one]} for index, one in enumerate(answer["predictions"])
    ]


def test_answers_tell_the_images_size_and_each_masks_box(client: Client) -> None:
    answer = client.visual({"image": IMAGE, "prompts": [CLICK, BOX]})
    assert (answer["width"], answer["height"]) == (WIDTH, HEIGHT)
    for one in answer["predictions"]:
        assert one["box"] == dict(zip(("x0", "y0", "x1", "y1"), polygon_box(one["masks"]), strict=True))


def test_the_boxs_x_and_y_are_its_centre(client: Client) -> None:
    answer = client.visual({"image": IMAGE, "prompts": [BOX]})
    assert_shows(answer["predictions"][0], SQUARE)


def test_points_and_box_in_one_prompt(client: Client) -> None:
    prompt = {"points": [{**centre(CIRCLE), "positive": True}], "box": centred(CIRCLE)}
    assert_shows(client.visual({"image": IMAGE, "prompts": [prompt]})["predictions"][0], CIRCLE)


def test_several_prompts_of_mixed_kinds_answer_in_order(client: Client) -> None:
    answer = client.visual({"image": IMAGE, "prompts": [BOX, CLICK, BOX]})
    for one, box in zip(answer["predictions"], (SQUARE, CIRCLE, SQUARE), strict=True):
        assert_shows(one, box)


@pytest.mark.parametrize(
    "prompts",
    [{"prompts": [CLICK]}, [CLICK], CLICK],
    ids=["set", "list", "one"],
)
def test_every_form_of_prompts(client: Client, prompts: Any) -> None:
    answer = client.visual({"image": IMAGE, "prompts": prompts})
    (one,) = answer["predictions"]
    assert_shows(one, CIRCLE)


@pytest.mark.parametrize("prompts", [None, [], {}, {"prompts": []}, {"prompts": None}, [{}]])
def test_no_prompt_at_all_is_one_mask(client: Client, prompts: Any) -> None:
    assert len(client.visual({"image": IMAGE, "prompts": prompts})["predictions"]) == 1
    assert len(client.visual({"image": IMAGE})["predictions"]) == 1


@pytest.mark.parametrize("multimask", [True, False])
def test_multimask_still_answers_one_mask_per_prompt(client: Client, multimask: Any) -> None:
    answer = client.visual({"image": IMAGE, "prompts": [CLICK, BOX], "multimask_output": multimask})
    assert len(answer["predictions"]) == 2


@pytest.mark.parametrize("positive", [{}, {"positive": True}, {"positive": 1}])
def test_points_are_positive_by_default(client: Client, positive: Any) -> None:
    prompt = {"points": [{**centre(CIRCLE), **positive}]}
    assert_shows(client.visual({"image": IMAGE, "prompts": [prompt]})["predictions"][0], CIRCLE)


def test_a_negative_point_is_not_in_the_mask(client: Client) -> None:
    prompt = {"points": [{**centre(CIRCLE), "positive": True}, {**centre(SQUARE), "positive": False}]}
    (one,) = client.visual({"image": IMAGE, "prompts": [prompt]})["predictions"]
    assert box_iou(SQUARE, polygon_box(one["masks"])) < 0.3


def test_rle(client: Client) -> None:
    (one,) = client.visual({"image": IMAGE, "prompts": [BOX], "format": "rle"})["predictions"]
    assert one["format"] == "rle"
    assert one["masks"]["size"] == [HEIGHT, WIDTH]
    assert isinstance(one["masks"]["counts"], str)


def test_binary_is_an_npz_without_pickles(client: Client) -> None:
    answer = client.send(
        "/sam3/visual_segment", {"image": IMAGE, "prompts": [BOX, CLICK], "format": "binary"}
    )
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/octet-stream"
    with np.load(io.BytesIO(answer.content), allow_pickle=False) as arrays:
        assert sorted(arrays) == ["confidences", "low_res_logits", "masks"]
        assert arrays["masks"].shape == (2, HEIGHT, WIDTH)
        assert arrays["masks"].dtype == np.bool_
        assert arrays["masks"][0, 70, 230]
        assert arrays["confidences"].shape == (2,)
        assert arrays["confidences"].dtype == np.float32
        assert arrays["low_res_logits"].ndim == 3
        assert arrays["low_res_logits"].shape[0] == 2
        assert arrays["low_res_logits"].dtype == np.float32


def test_logits_are_saved_and_loaded_for_later_clicks(client: Client) -> None:
    body = {"image": IMAGE, "prompts": [CLICK], "save_logits_to_cache": True}
    client.visual(body)
    more = {"points": [*CLICK["points"], {"x": CIRCLE[0] + 20, "y": centre(CIRCLE)["y"], "positive": True}]}
    again = client.visual({"image": IMAGE, "prompts": [more], "load_logits_from_cache": True})
    assert_shows(again["predictions"][0], CIRCLE)


def test_nothing_to_load_is_not_an_error(client: Client) -> None:
    image = as_json(encoded(scene().resize((WIDTH + 1, HEIGHT))))
    answer = client.visual({"image": image, "prompts": [CLICK], "load_logits_from_cache": True})
    assert len(answer["predictions"]) == 1


@pytest.mark.parametrize("version", ["hiera_tiny", "no such version", None])
def test_sam2_version_id_is_ignored(client: Client, version: Any) -> None:
    client.visual({"image": IMAGE, "prompts": [CLICK], "sam2_version_id": version})


@pytest.mark.parametrize(
    "prompt",
    [
        {"points": [centre(CIRCLE), {"x": 46000, "y": 190}]},
        {"points": [centre(CIRCLE), {"x": -0.5, "y": 1e9, "positive": False}]},
        {"box": {"x": 1e9, "y": 0, "width": 5, "height": 5}},
    ],
)
def test_a_place_outside_the_image_is_refused(client: Client, prompt: dict[str, Any]) -> None:
    (problem,) = client.visual({"image": IMAGE, "prompts": [{}, prompt]}, 422)["detail"]
    assert problem["loc"] == ["body", "prompts", 1]
    assert "lies outside the image, which has 320 x 256 pixels" in problem["msg"]


def test_a_place_on_the_edge_of_the_image_is_answered(client: Client) -> None:
    points, box = [{"x": -0.5, "y": 256}], {"x": 0, "y": 0, "width": 1e9, "height": 1e9}
    answer = client.visual({"image": IMAGE, "prompts": [{"points": points}, {"box": box}]})
    assert len(answer["predictions"]) == 2


def test_the_self_hosted_documents_two_steps(server: str) -> None:
    """Embed, then click by `image_id` alone, with a key in the query that an open server ignores."""
    query = {"api_key": "<YOUR_API_KEY>"}
    step = requests.post(
        f"{server}/sam3/embed_image", params=query, json={"image": IMAGE}, timeout=PATIENCE_S
    )
    image_id = step.json()["image_id"]
    body = {"image_id": image_id, "prompts": [{"points": [{**centre(CIRCLE), "positive": True}]}]}
    answer = requests.post(
        f"{server}/sam3/visual_segment", params=query, json=body, timeout=PATIENCE_S
    ).json()
    assert_shows(answer["predictions"][0], CIRCLE)
    assert answer["image_id"] == image_id
