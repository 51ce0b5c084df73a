"""A batch that the GPU has too little memory for is answered in parts."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
import torch

from sam3_engine.engine import ConceptItem, Engine, VisualItem
from sam3_engine.errors import DeviceFull
from sam3_engine.features import Features
from sam3_engine.out_of_memory import in_halves
from sam3_engine.spec import TINY
from sam3_engine.types import ConceptPrompt, ImageSize, Point, VisualPrompt

SIZE = ImageSize(300, 400)


class Device:
    """Doubles numbers, at most `fits` of them at once."""

    def __init__(self, fits: int) -> None:
        self.fits, self.full = fits, 0
        self.sizes: list[int] = []

    def __call__(self, items: Sequence[int]) -> list[int]:
        self.sizes.append(len(items))
        if len(items) > self.fits:
            raise torch.OutOfMemoryError
        return [2 * item for item in items]

    def count(self) -> None:
        self.full += 1


@pytest.mark.parametrize("fits", [1, 2, 3, 7, 8])
@pytest.mark.parametrize("count", [1, 5, 7])
def test_all_items_are_answered_in_order(fits: int, count: int) -> None:
    device = Device(fits)
    assert in_halves(device, range(count), device.count) == [2 * item for item in range(count)]
    assert device.full == sum(size > fits for size in device.sizes)


def test_a_batch_is_halved_until_it_fits() -> None:
    device = Device(2)
    in_halves(device, range(8), device.count)
    assert device.sizes == [8, 4, 2, 2, 4, 2, 2]


def test_an_item_that_fits_nowhere_is_refused() -> None:
    device = Device(0)
    with pytest.raises(DeviceFull):
        in_halves(device, range(4), device.count)
    assert device.sizes == [4, 2, 1]


def test_other_errors_are_passed_on() -> None:
    def broken(_items: Sequence[int]) -> list[int]:
        raise RuntimeError("not about memory")

    with pytest.raises(RuntimeError, match="not about memory"):
        in_halves(broken, range(2), pytest.fail)


@pytest.fixture
def small(random_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """An engine whose passes take one image or prompt at a time."""
    engine = Engine.from_state(random_engine.model.state_dict(), TINY, device="cpu", dtype="float32")
    for name in ("_encode", "_ground", "_propose"):
        real = getattr(engine, name)

        def full(*args: object, real: object = real, **options: object) -> object:
            if len(args[-1]) > 1:  # type: ignore[arg-type]
                raise torch.OutOfMemoryError
            return real(*args, **options)  # type: ignore[operator]

        monkeypatch.setattr(engine, name, full)
    return engine


def test_an_engine_answers_as_if_it_had_memory(
    random_engine: Engine, small: Engine, squares: list[npt.NDArray[np.uint8]]
) -> None:
    full: list[None] = []
    small.on_out_of_memory = lambda: full.append(None)
    concepts = [ConceptPrompt(text, score_threshold=0.0) for text in ("star", "circle", "square")]
    clicks = [VisualPrompt((Point(x, 20),)) for x in (5, 60, 200)]
    answers = []
    for engine in (random_engine, small):
        features: list[Features] = [engine.expand(embedding) for embedding in engine.encode(squares)]
        found = engine.segment_concepts([ConceptItem(features[1], SIZE, concepts)])[0]
        masks = engine.segment_visual([VisualItem(features[2], SIZE, clicks)])[0]
        answers.append(([one.scores for one in found], [one.low_res_logits for one in masks]))
    for expected, given in zip(*answers, strict=True):
        np.testing.assert_allclose(given, expected, rtol=1e-3, atol=1e-3)
    assert len(full) == 6, "two for each kind: three items, then two"
