"""inference-sdk, unmodified: the client that our users already have."""

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inference_sdk import InferenceConfiguration, InferenceHTTPClient
from inference_sdk.http.errors import HTTPCallErrorError

from deployments.protocol import Overloaded
from serve_app.http.tenants import keyfile
from tests.contract.conftest import ServerFactory
from tests.support.fake_segmenter import FakeSegmenter
from tests.support.scenes import CIRCLE, HEIGHT, SQUARE, WIDTH, box_iou, encoded, polygon_box, scene

RED = [{"type": "text", "text": "red circle"}]
CLICK = [{"points": [{"x": 70, "y": 80, "positive": True}]}]
BOX = [{"box": {"x": 230, "y": 70, "width": 84, "height": 84}}]
# The SDK advises to send keys by header, once per process, and deprecates nothing that is used here.
pytestmark = pytest.mark.filterwarnings("ignore::inference_sdk.config.InferenceSDKGuidanceWarning")


@pytest.fixture
def image() -> np.ndarray:
    """The scene as the SDK takes arrays: BGR."""
    return np.ascontiguousarray(np.asarray(scene())[..., ::-1])


@pytest.fixture
def client(server: str) -> InferenceHTTPClient:
    return InferenceHTTPClient(api_url=server)


def call(client: InferenceHTTPClient, way: str, name: str, *arguments: Any, **options: Any) -> Any:
    """Call a method of the SDK, or its async twin."""
    if way == "sync":
        return getattr(client, name)(*arguments, **options)
    return asyncio.run(getattr(client, f"{name}_async")(*arguments, **options))


both_ways = pytest.mark.parametrize("way", ["sync", "async"])


@both_ways
def test_concept_segment(client: InferenceHTTPClient, image: Any, way: str) -> None:
    answer = call(client, way, "sam3_concept_segment", image, RED)
    predictions = answer["prompt_results"][0]["predictions"]
    assert len(predictions) == 2
    assert any(box_iou(CIRCLE, polygon_box(one["masks"])) > 0.7 for one in predictions)


@both_ways
def test_concept_segment_with_everything(client: InferenceHTTPClient, image: Any, way: str) -> None:
    box = {"x": CIRCLE[0], "y": CIRCLE[1], "width": 80, "height": 80}
    prompts = [
        {"type": "text", "text": "red circle", "output_prob_thresh": 0.3},
        {"type": "visual", "boxes": [box], "box_labels": [1]},
    ]
    options = {"output_prob_thresh": 0.4, "nms_iou_threshold": 0.5, "format": "rle"}
    answer = call(client, way, "sam3_concept_segment", image, prompts, **options)
    kept = [one for result in answer["prompt_results"] for one in result["predictions"]]
    assert len(kept) == 2
    assert all(one["masks"]["size"] == [HEIGHT, WIDTH] for one in kept)


@both_ways
@pytest.mark.parametrize(("prompts", "box"), [(CLICK, CIRCLE), (BOX, SQUARE)], ids=["click", "box"])
def test_visual_segment(client: InferenceHTTPClient, image: Any, way: str, prompts: Any, box: Any) -> None:
    answer = call(client, way, "sam3_visual_segment", image, prompts)
    (one,) = answer["predictions"]
    assert box_iou(box, polygon_box(one["masks"])) > 0.7


@both_ways
def test_visual_segment_without_prompts(client: InferenceHTTPClient, image: Any, way: str) -> None:
    options = {"multimask_output": False, "mask_input_format": "rle"}
    answer = call(client, way, "sam3_visual_segment", image, None, **options)
    assert len(answer["predictions"]) == 1


@both_ways
def test_embed_image(client: InferenceHTTPClient, image: Any, way: str) -> None:
    answer = call(client, way, "sam3_embed_image", image)
    assert answer["image_id"]
    assert call(client, way, "sam3_embed_image", image, image_id="by-sdk")["image_id"] == "by-sdk"


@both_ways
@pytest.mark.parametrize("batch", [1, 2, 3])
def test_lists_of_images(client: InferenceHTTPClient, image: Any, way: str, batch: int) -> None:
    """The SDK posts JSON lists where max_batch_size is above 1."""
    client.configure(InferenceConfiguration(max_batch_size=batch, max_concurrent_requests=2))
    answers = call(client, way, "sam3_concept_segment", [image, image[:, ::-1].copy(), image], RED)
    flat = [one for answer in answers for one in (answer if isinstance(answer, list) else [answer])]
    assert [len(one["prompt_results"][0]["predictions"]) for one in flat] == [2, 2, 2]
    first, mirrored, again = (one["prompt_results"][0]["predictions"] for one in flat)
    # Batches of other sizes differ in the last bits of a score, and so in a pixel of an outline.
    assert [one["confidence"] for one in again] == pytest.approx(
        [one["confidence"] for one in first], abs=1e-3
    )
    assert again[0]["box"] == pytest.approx(first[0]["box"], abs=0.5)
    assert mirrored[0]["masks"] != first[0]["masks"]


@both_ways
def test_every_kind_of_input(client: InferenceHTTPClient, tmp_path: Path, way: str) -> None:
    path = tmp_path / "scene.png"
    path.write_bytes(encoded(scene()))
    for given in (str(path), scene(), np.asarray(scene())):
        assert call(client, way, "sam3_embed_image", given)["image_id"]


@both_ways
def test_refusals_are_call_errors(client: InferenceHTTPClient, image: Any, way: str) -> None:
    with pytest.raises(HTTPCallErrorError) as raised:
        call(client, way, "sam3_concept_segment", image, RED, format="png")
    assert raised.value.status_code == 400
    if way == "sync":  # the async client does not read an error's body
        assert "'png' is not supported" in raised.value.api_message
    with pytest.raises(HTTPCallErrorError) as raised:
        call(client, way, "sam3_concept_segment", image, [])
    assert raised.value.status_code == 422


@both_ways
def test_a_short_overload_is_not_noticed(start_server: ServerFactory, image: Any, way: str) -> None:
    """The SDK tries three times."""
    segmenter = FakeSegmenter(error=Overloaded(), failures=2)
    with start_server(segmenter) as url:
        assert call(InferenceHTTPClient(api_url=url), way, "sam3_embed_image", image)["image_id"]
    assert len(segmenter.asked) == 3


def test_a_long_overload_is_a_call_error(start_server: ServerFactory, image: Any) -> None:
    """Not tried with the async client: its version 1.8.3 breaks off with a KeyError of its own."""
    with start_server(FakeSegmenter(error=Overloaded())) as url, pytest.raises(HTTPCallErrorError) as raised:
        InferenceHTTPClient(api_url=url).sam3_embed_image(image)
    assert raised.value.status_code == 503


@both_ways
@pytest.mark.parametrize("transport", [None, "legacy", "header", "both"])
def test_keys(
    tmp_path: Path, start_server: ServerFactory, image: Any, way: str, transport: str | None
) -> None:
    key = keyfile.add(tmp_path / "keys.json", "acme")
    with start_server(api_keys_file=tmp_path / "keys.json") as url:
        for given, ok in ((key, True), ("s3k_wrong-wrong-wrong", False)):
            client = InferenceHTTPClient(api_url=url, api_key=given)
            client.configure(InferenceConfiguration(api_key_transport=transport))
            if ok:
                assert call(client, way, "sam3_embed_image", image)["image_id"]
                continue
            with pytest.raises(HTTPCallErrorError) as raised:
                call(client, way, "sam3_embed_image", image)
            assert raised.value.status_code == 401
            if way == "sync":
                assert raised.value.api_message == "Unauthorized api_key"


def test_server_info(client: InferenceHTTPClient) -> None:
    info = client.get_server_info()
    assert info.name
    assert info.version
    assert info.uuid
