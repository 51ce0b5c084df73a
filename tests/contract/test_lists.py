"""Lists of images, as inference-sdk sends them with `max_batch_size` above 1."""

import pytest

from tests.contract.conftest import Client, ServerFactory
from tests.support.fake_segmenter import FakeSegmenter
from tests.support.scenes import as_json, encoded, numbered, ring

RED = [{"type": "text", "text": "red circle"}]


def test_a_list_is_answered_by_a_list_in_order(client: Client) -> None:
    contents = [numbered(200), encoded(ring()), numbered(201)]
    answers = client.embed({"image": [as_json(content) for content in contents]})
    alone = [client.embed({"image": as_json(content)}) for content in contents]
    assert [one["image_id"] for one in answers] == [one["image_id"] for one in alone]


def test_a_list_of_one_is_answered_by_a_list(client: Client) -> None:
    (answer,) = client.concept({"image": [as_json(numbered(202))], "prompts": RED})
    assert len(answer["prompt_results"][0]["predictions"]) == 2


def test_every_image_gets_every_prompt(client: Client) -> None:
    images = [as_json(numbered(203)), as_json(numbered(204))]
    answers = client.concept({"image": images, "prompts": RED})
    assert [len(one["prompt_results"][0]["predictions"]) for one in answers] == [2, 2]
    masks = client.visual({"image": images, "prompts": [{"points": [{"x": 70, "y": 80}]}, {}]})
    assert [len(one["predictions"]) for one in masks] == [2, 2]


def test_the_same_image_twice_is_two_answers(client: Client) -> None:
    image = as_json(numbered(205))
    answers = client.concept({"image": [image, image], "prompts": RED})
    assert answers[0]["prompt_results"] == answers[1]["prompt_results"]


def test_one_bad_image_fails_the_list_and_is_named(client: Client) -> None:
    images = [as_json(numbered(206)), as_json(b"not an image")]
    message = client.concept({"image": images, "prompts": RED}, expect=400)["message"]
    assert message.startswith("image 1 of the list: ")


def test_an_id_cannot_name_a_list(client: Client) -> None:
    images = [as_json(numbered(207)), as_json(numbered(208))]
    client.embed({"image": images, "image_id": "both"}, expect=422)
    assert len(client.embed({"image": images[:1], "image_id": "only"})) == 1


def test_binary_is_for_one_image(client: Client) -> None:
    images = [as_json(numbered(209)), as_json(numbered(210))]
    message = client.visual({"image": images, "format": "binary"}, expect=400)["message"]
    assert "binary" in message


def test_too_many_images_are_422(start_server: ServerFactory) -> None:
    with start_server(max_images=2) as url:
        client = Client(url)
        images = [as_json(numbered(number)) for number in range(3)]
        assert len(client.embed({"image": images[:2]})) == 2
        for too_many in (images, images[:1] * 2000):
            detail = client.embed({"image": too_many}, expect=422)["detail"]
            assert detail[0]["loc"] == ["body", "image"]


@pytest.mark.parametrize("position", [0, 1])
def test_an_unforeseen_error_in_a_list_is_500(start_server: ServerFactory, position: int) -> None:
    with start_server(FakeSegmenter(error=RuntimeError("boom"))) as url:
        answer = Client(url).embed({"image": [as_json(numbered(0)), as_json(numbered(1))]}, expect=500)
        assert answer == {"message": "Internal error."}
