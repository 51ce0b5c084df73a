import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from deployments.decoder.features import HotImage
from deployments.decoder.prompts import PromptRunner
from deployments.keys import ImageKey
from deployments.model.thread import ModelThread
from deployments.observe.metrics import Metrics
from deployments.protocol import ConceptRequest, VisualRequest
from deployments.results import dump_results, load_results
from sam3_engine.engine import ConceptDetections, ConceptItem, Engine, VisualItem, VisualMask
from sam3_engine.types import ConceptPrompt, ImageSize, MaskFormat, Point, VisualPrompt

SIZE = ImageSize(32, 48)
KEY = ImageKey("t", "m", "d")


class FakeEngine:
    """Every prompt finds the image's left half; remembers its requests."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        self.visual_items: list[VisualItem] = []

    def segment_concepts(self, items: Sequence[ConceptItem]) -> list[list[ConceptDetections]]:
        scores, boxes = np.array([0.9], np.float32), np.array([[0, 0, 24, 32]], np.float32)
        return [
            [
                ConceptDetections(scores, boxes, left_half()[None], ("cut",) if prompt.text == "a" else ())
                for prompt in item.prompts
            ]
            for item in items
        ]

    def segment_visual(self, items: Sequence[VisualItem]) -> list[list[VisualMask]]:
        self.visual_items += items
        return [[VisualMask(0.8, left_half(), left_half().numpy()) for _ in item.prompts] for item in items]


def left_half() -> torch.Tensor:
    logits = torch.full((8, 8), -5.0)
    logits[:, :4] = 5.0
    return logits


class Features:
    nbytes = 10


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def prompts(engine: FakeEngine, metrics: Metrics) -> Iterator[PromptRunner]:
    with ModelThread("test") as thread, ThreadPoolExecutor(1) as post:
        yield PromptRunner(cast("Engine", engine), thread, post, metrics, 8, 0.0)


IMAGE = HotImage(Features(), SIZE, born=1)


async def answer(prompts: PromptRunner, request: ConceptRequest | VisualRequest) -> Any:
    data, stages = await prompts.answer(KEY, IMAGE, request, None)
    assert stages.keys() == {"queue", "prompt", "post"}
    assert all(seconds >= 0 for seconds in stages.values())
    return load_results(data)


@pytest.mark.parametrize("size", [SIZE, ImageSize(2000, 3000)])
async def test_long_answers_are_encoded_in_a_thread(
    prompts: PromptRunner, size: ImageSize, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[str] = []
    dumps = dump_results

    def watched(*args: Any, **kwargs: Any) -> bytes:
        threads.append(threading.current_thread().name)
        return dumps(*args, **kwargs)

    monkeypatch.setattr("deployments.decoder.prompts.dump_results", watched)
    request = VisualRequest([VisualPrompt((Point(1, 1),))])
    await prompts.answer(KEY, HotImage(Features(), size, born=1), request, None)
    assert (threads == [threading.current_thread().name]) == (size == SIZE)


async def test_concepts_come_back_by_prompt(prompts: PromptRunner, metrics: Metrics) -> None:
    results = await answer(prompts, ConceptRequest([ConceptPrompt("a"), ConceptPrompt("b")]))
    assert [[one.score for one in result.instances] for result in results] == [[pytest.approx(0.9)]] * 2
    (first,) = results[0].instances
    assert first.box == (0, 0, 24, 32)
    assert 0.4 < first.area / (32 * 48) < 0.6
    assert [list(result.warnings) for result in results] == [["cut"], []]
    assert metrics.values['sam3_batch_size_count{stage="prompt"}'] == 1


async def test_overlapping_instances_are_suppressed_across_prompts(prompts: PromptRunner) -> None:
    request = ConceptRequest([ConceptPrompt("a"), ConceptPrompt("b")], nms_iou_threshold=0.5)
    assert [len(result.instances) for result in await answer(prompts, request)] == [1, 0]


@pytest.mark.parametrize(
    ("mask_format", "has_logits"), [("polygon", False), ("rle", False), ("binary", True)]
)
async def test_only_binary_answers_carry_logits(
    prompts: PromptRunner, mask_format: MaskFormat, has_logits: bool
) -> None:
    (instance,) = await answer(prompts, VisualRequest([VisualPrompt()], mask_format=mask_format))
    assert (instance.low_res_logits is not None) is has_logits
    if mask_format == "binary":
        assert instance.masks.shape == SIZE


async def test_saved_logits_are_loaded_for_the_next_click(prompts: PromptRunner, engine: FakeEngine) -> None:
    first = VisualPrompt((Point(1, 1),))
    await answer(prompts, VisualRequest([first], save_logits=True))
    more = VisualPrompt((Point(1, 1), Point(2, 2)))
    await answer(prompts, VisualRequest([more], load_logits=True))
    await answer(prompts, VisualRequest([more]))
    loaded = [item.prompts[0].previous_logits for item in engine.visual_items]
    assert [logits is not None for logits in loaded] == [False, True, False]
    np.testing.assert_array_equal(loaded[1], left_half().numpy())
