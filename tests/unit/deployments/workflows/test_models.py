"""A worker's questions to the models, and the answers."""

import asyncio
from typing import Any

import numpy as np
import pytest

from deployments.keys import content_digest
from deployments.protocol import DeadlineExceeded, Overloaded, Timings
from deployments.workflows.limits import Limits
from deployments.workflows.models import ModelCalls, PixelSource
from deployments.workflows.prompts import concept_request, visual_request
from sam3_engine.images import open_upright
from tests.support.fake_segmenter import FakeSegmenter
from tests.support.scenes import encoded, scene

LIMITS = Limits(timeout_s=5, max_model_calls=3, memory_bytes=2**30, max_image_pixels=10**6)
FILE = encoded(scene())
RED = {"type": "text", "text": "red circle"}
CLICK = {"points": [{"x": 70, "y": 80, "positive": True}]}


def concept(**fields: Any) -> dict[str, Any]:
    return {"method": "concept", "prompts": [RED], "image": {"file": 0}, **fields}


def visual(**fields: Any) -> dict[str, Any]:
    return {"method": "visual", "prompts": [CLICK], "image": {"file": 0}, **fields}


def ask(segmenter: FakeSegmenter, *headers: dict[str, Any], parts: Any = ()) -> tuple[ModelCalls, list[Any]]:
    async def run() -> tuple[ModelCalls, list[Any]]:
        calls = ModelCalls(segmenter, "acme", [FILE], LIMITS)
        return calls, [await calls.answer(header, parts, Timings("id")) for header in headers]

    return asyncio.run(run())


def test_masks_come_back_by_prompt() -> None:
    segmenter = FakeSegmenter()
    _, (found, clicked) = ask(segmenter, concept(format="rle"), visual())
    assert [len(masks) for masks in found["results"]] == [2]
    assert found["results"][0][0]["masks"]["size"] == [256, 320]
    assert clicked["results"][0]["confidence"] == 0.9
    assert segmenter.tenants == ["acme", "acme"]
    assert segmenter.encoded == 1


def test_pixels_are_an_image_of_their_own() -> None:
    segmenter = FakeSegmenter()
    pixels = np.asarray(scene()).copy()
    described = {"shape": list(pixels.shape)}
    _, (first, again) = ask(
        segmenter, concept(image=described), concept(image=described), parts=[pixels.tobytes()]
    )
    assert len(first["results"][0]) == 2
    assert again == first
    assert segmenter.encoded == 1


async def test_pixels_become_a_file_without_loss() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    source = PixelSource(30, 40, pixels.tobytes())
    assert np.array_equal(np.asarray(open_upright(await source.content())), pixels)
    assert await source.content_digest() != await PixelSource(40, 30, pixels.tobytes()).content_digest()
    assert await source.content_digest() != content_digest(pixels.tobytes())


@pytest.mark.parametrize(
    "header",
    [
        concept(prompts=[]),
        concept(prompts=[RED] * 17),
        concept(prompts=[{"type": "text", "text": "x" * 1001}]),
        concept(prompts=[{"type": "text", "text": " "}]),
        concept(prompts=[{"type": "text", "text": "x", "code": "y"}]),
        concept(prompts="red circle"),
        concept(threshold=1.5),
        concept(threshold="0.5"),
        concept(threshold=True),
        concept(nms=-1),
        concept(format="binary"),
        concept(image={"file": 1}),
        concept(image={"file": "x"}),
        concept(image={}),
        concept(image={"shape": [10, 10, 3]}),
        concept(image={"shape": [0, 0, 3]}),
        {"method": "concept"},
        {"method": "delete", "image": {"file": 0}},
        visual(prompts=[CLICK] * 257),
        visual(prompts=[{"points": [{"x": 1, "y": 1}] * 257}]),
        visual(prompts=[{"points": [{"x": float("nan"), "y": 1}]}]),
        visual(prompts=[{"points": [{"x": 1e10, "y": 1}]}]),
        visual(prompts=[{"box": {"x": 1}}]),
        visual(prompts=[5]),
    ],
    ids=lambda header: str(header)[:60],
)
def test_prompts_that_the_routes_would_refuse_are_refused(header: dict[str, Any]) -> None:
    segmenter = FakeSegmenter()
    calls, (reply,) = ask(segmenter, header, parts=[b"12"])
    assert reply["status"] == 400
    assert "results" not in reply
    assert segmenter.asked == []
    assert calls.failure is None, "the workflow is to blame, not the server"


def test_a_negative_file_is_no_other_runs_file() -> None:
    _, (reply,) = ask(FakeSegmenter(), concept(image={"file": -1}))
    assert reply["status"] == 400


def test_images_over_the_limit_are_413() -> None:
    _, (reply,) = ask(FakeSegmenter(), concept(image={"shape": [2000, 2000, 3]}), parts=[b""])
    assert reply["status"] == 413


def test_calls_are_counted() -> None:
    _, replies = ask(FakeSegmenter(), *[visual()] * 5)
    assert ["results" in reply for reply in replies] == [True, True, True, False, False]
    assert "3 times" in replies[3]["message"]


@pytest.mark.parametrize("error", [Overloaded(2.0), DeadlineExceeded(), RuntimeError("secret")])
def test_errors_of_the_server_fail_the_run_as_what_they_are(error: Exception) -> None:
    calls, (reply,) = ask(FakeSegmenter(error=error), visual())
    assert calls.failure is error
    assert "secret" not in reply["message"]


def test_requests_are_the_routes_requests() -> None:
    asked = concept_request(
        concept(threshold=0.25, nms=0.9, prompts=[RED, {**RED, "output_prob_thresh": 0.75}])
    )
    assert [prompt.score_threshold for prompt in asked.prompts] == [0.25, 0.75]
    assert (asked.nms_iou_threshold, asked.mask_format) == (0.9, "polygon")
    clicked = visual_request(
        visual(multimask=False, prompts=[{"box": {"x": 50, "y": 40, "width": 20, "height": 10}}])
    )
    assert clicked.prompts[0].box == (40, 35, 60, 45)
    assert not clicked.multimask


def test_each_step_asks_the_model_that_it_names() -> None:
    segmenter = FakeSegmenter()
    ids = {"base": "base", "sam3/sam3_final": "base", "cars": "acme/cars/3"}

    async def run() -> list[Any]:
        calls = ModelCalls(segmenter, "acme", [FILE], LIMITS, model_ids=ids)
        headers = [concept(model="cars"), visual(model="sam3/sam3_final"), visual(), concept(model="cats")]
        headers.append(concept(model={}))
        return [await calls.answer(header, (), Timings("id")) for header in headers]

    *_, unknown, malformed = asyncio.run(run())
    assert segmenter.asked_models == ["acme/cars/3", "base", None]
    assert unknown["status"] == malformed["status"] == 400
