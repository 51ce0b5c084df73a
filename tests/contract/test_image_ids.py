"""`POST /sam3/embed_image`, and the use of an `image_id` afterwards."""

import hashlib
from typing import Any

import pytest
from PIL import Image

from tests.contract.conftest import Client
from tests.support.scenes import CIRCLE, SQUARE, as_json, box_iou, encoded, numbered, polygon_box, scene

PROMPTS = [{"type": "text", "text": "red circle"}]
BLUE_CLICK = [{"points": [{"x": 230, "y": 70}]}]


def test_embed_names_the_image_by_its_content(client: Client) -> None:
    content = numbered(1)
    answer = client.embed({"image": as_json(content)})
    assert set(answer) == {"image_id", "time", "width", "height"}
    assert hashlib.sha256(content).hexdigest() in answer["image_id"]
    assert client.embed({"image": as_json(content)})["image_id"] == answer["image_id"]
    assert client.embed({"image": as_json(numbered(2))})["image_id"] != answer["image_id"]


def test_equal_pixels_in_another_shape_are_another_image(client: Client) -> None:
    wide, high = Image.new("L", (64, 16), 200), Image.new("L", (16, 64), 200)
    assert wide.tobytes() == high.tobytes()
    ids = {client.embed({"image": as_json(encoded(image))})["image_id"] for image in (wide, high)}
    assert len(ids) == 2


def test_embed_keeps_the_clients_name(client: Client) -> None:
    assert client.embed({"image": as_json(numbered(3)), "image_id": "näme/1"})["image_id"] == "näme/1"


def test_an_embedded_image_serves_every_route(client: Client) -> None:
    image_id = client.embed({"image": as_json(numbered(4)), "image_id": "every-route"})["image_id"]
    concept = client.send("/sam3/concept_segment", {"image_id": image_id, "prompts": PROMPTS})
    visual = client.send("/sam3/visual_segment", {"image_id": image_id, "prompts": BLUE_CLICK})
    for answer in (concept, visual):
        assert answer.status_code == 200, answer.text
        assert answer.json()["image_id"] == image_id
        assert "cache;desc=hit" in answer.headers["server-timing"]
    assert len(concept.json()["prompt_results"][0]["predictions"]) == 2


def test_a_first_request_embeds_for_later_ones(client: Client) -> None:
    image = as_json(numbered(5))
    first = client.send("/sam3/concept_segment", {"image": image, "prompts": PROMPTS})
    second = client.send("/sam3/visual_segment", {"image": image, "prompts": BLUE_CLICK})
    assert "cache;desc=miss" in first.headers["server-timing"]
    assert "cache;desc=hit" in second.headers["server-timing"]
    assert first.json()["image_id"] == second.json()["image_id"]


@pytest.mark.parametrize("route", ["/sam3/concept_segment", "/sam3/visual_segment"])
def test_an_unknown_id_without_an_image_is_404(client: Client, route: str) -> None:
    body = {"image_id": "never seen", "prompts": PROMPTS if "concept" in route else BLUE_CLICK}
    answer = client.post(route, body, expect=404)
    assert set(answer) == {"message"}
    assert "not in the cache: send the image" in answer["message"]


def test_with_id_and_image_the_new_image_wins(client: Client) -> None:
    """The same id for other bytes: never the old embedding."""
    first, second = numbered(6), encoded(scene().transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    click = [{"points": [{"x": 70, "y": 80}]}]
    one = client.visual({"image": as_json(first), "image_id": "reused", "prompts": click})
    assert box_iou(CIRCLE, polygon_box(one["predictions"][0]["masks"])) > 0.7
    mirrored = [320 - SQUARE[2], SQUARE[1], 320 - SQUARE[0], SQUARE[3]]
    two = client.visual({"image": as_json(second), "image_id": "reused", "prompts": click})
    assert box_iou(mirrored, polygon_box(two["predictions"][0]["masks"])) > 0.7
    three = client.visual({"image_id": "reused", "prompts": click})
    assert three["predictions"] == two["predictions"]


CONTROLS = ["scan\n", "a\nb", "\x00", "tab\there", "\x7f", "\x85", "line\u2028separator"]


@pytest.mark.parametrize("image_id", ["", "x" * 513, 5, ["a"], ".", "..", *CONTROLS])
def test_malformed_image_ids_are_422(client: Client, image_id: Any) -> None:
    for body in ({"image": as_json(numbered(7))}, {}):
        named = {**body, "image_id": image_id, "prompts": PROMPTS}
        for route in ("/sam3/embed_image", "/sam3/concept_segment", "/sam3/visual_segment"):
            client.post(route, named if "visual" not in route else {**named, "prompts": []}, expect=422)


def test_ids_of_digests_are_reserved_for_their_own_content(client: Client) -> None:
    content, other = numbered(8), numbered(9)
    image_id = "sha256-" + hashlib.sha256(content).hexdigest()
    for route in ("/sam3/embed_image", "/sam3/concept_segment", "/sam3/visual_segment"):
        body = {
            "image": as_json(other),
            "image_id": image_id,
            "prompts": PROMPTS if "concept" in route else None,
        }
        (item,) = client.post(route, body, expect=422)["detail"]
        assert item["loc"] == ["body", "image_id"]
    client.visual({"image_id": image_id}, expect=404)
    assert client.embed({"image": as_json(content), "image_id": image_id})["image_id"] == image_id
    client.embed({"image": as_json(content), "image_id": "sha256-mine"}, expect=422)
