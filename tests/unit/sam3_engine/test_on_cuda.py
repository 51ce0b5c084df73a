"""Every path of the engine as on CUDA, in bfloat16: devices and dtypes fit, and the host waits for little."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
import torch

from sam3_engine.assembly import build_model
from sam3_engine.device import Precision
from sam3_engine.engine import ConceptItem, Engine, VisualItem
from sam3_engine.features import Features
from sam3_engine.graphs import Function, Graphs
from sam3_engine.spec import TINY, ModelSpec
from sam3_engine.types import ConceptPrompt, ImageSize, Point, VisualPrompt
from tests.support.fake_cuda import CUDA, FakeCuda, fake_cuda
from tests.support.host_graphs import HostPool

SIZE = ImageSize(300, 400)
DEEP = replace(TINY, encoder_layers=6, decoder_layers=6)
"""A small model with as many layers as the official one: it waits and starts kernels as often as at full size."""
STAR, ABSENT = ConceptPrompt("star", score_threshold=0.0), ConceptPrompt("star", score_threshold=1.0)
SHOWN = ConceptPrompt(None, ((40.0, 50.0, 160.0, 170.0),), (True,), 0.0)


@dataclass
class OnCuda:
    device: FakeCuda
    engine: Engine
    features: list[Features]


@cache
def weights(spec: ModelSpec = DEEP) -> dict[str, torch.Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return dict(build_model(spec).state_dict())


def squares(count: int) -> npt.NDArray[np.uint8]:
    side = DEEP.image_size
    return np.random.default_rng(0).integers(0, 255, (count, side, side, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def on_cuda() -> Iterator[OnCuda]:
    """An engine whose phrases and pyramids are known."""
    with fake_cuda() as device, pytest.MonkeyPatch.context() as patch:
        patch.setattr("sam3_engine.engine.choose_device", lambda _: CUDA)
        engine = Engine.from_state(weights(), DEEP, device="cuda")
        assert engine.precision == Precision(torch.bfloat16, torch.bfloat16, torch.bfloat16, torch.bfloat16)
        features = [engine.expand(one) for one in engine.encode(list(squares(2)))]
        engine.segment_concepts([ConceptItem(one, SIZE, [ABSENT, SHOWN]) for one in features])
        yield OnCuda(device, engine, features)


@pytest.mark.parametrize(
    ("prompts", "kernels"),
    [([STAR], 1500), ([ABSENT], 1500), ([SHOWN], 1750), ([STAR, SHOWN, ABSENT, STAR], 1750)],
    ids=["text", "absent", "box", "four"],
)
@pytest.mark.parametrize("images", [1, 2])
def test_the_host_waits_once_in_a_concept_pass(
    on_cuda: OnCuda, prompts: list[ConceptPrompt], kernels: int, images: int
) -> None:
    """The package waits 43 times, and has 1,510 kernels for a text."""
    items = [ConceptItem(one, SIZE, prompts) for one in on_cuda.features[:images]]
    assert on_cuda.device.waits_in(lambda: on_cuda.engine.segment_concepts(items)) == 1, on_cuda.device.waits
    assert on_cuda.device.kernels.total() < kernels


@pytest.mark.parametrize("multimask", [True, False])
def test_the_host_waits_once_in_a_click_and_in_its_refinement(on_cuda: OnCuda, multimask: bool) -> None:
    def click(prompt: VisualPrompt) -> npt.NDArray[np.float32]:
        item = VisualItem(on_cuda.features[0], SIZE, [prompt, prompt], multimask)
        return on_cuda.engine.segment_visual([item])[0][0].low_res_logits

    first = VisualPrompt((Point(5, 6),))
    click(first)  # the position encoding of all cells is computed once
    assert on_cuda.device.waits_in(lambda: click(first)) == 1, on_cuda.device.waits
    again = VisualPrompt((Point(5, 6), Point(90, 80, False)), previous_logits=click(first))
    assert on_cuda.device.waits_in(lambda: click(again)) == 1, on_cuda.device.waits
    assert on_cuda.device.kernels.total() < 500


def test_a_warm_up_runs_on_the_device(on_cuda: OnCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sam3_engine.engine.choose_device", lambda _: CUDA)
    Engine.from_state(weights(TINY), TINY, device="cuda").warm_up(images=2, prompts=2)


def test_passes_by_graphs_wait_no_more(on_cuda: OnCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies into a graph's memory and out of it stay on the device."""

    def on(function: Function, device: torch.device, largest: int = 16) -> Graphs:
        return Graphs(function, HostPool(), largest)

    monkeypatch.setattr("sam3_engine.engine.choose_device", lambda _: CUDA)
    monkeypatch.setattr(Graphs, "on", on)
    engine = Engine.from_state(weights(TINY), TINY, device="cuda")
    engine.use_graphs("all")
    engine.warm_up(images=2, prompts=2)
    assert all(len(graphs) for graphs in engine.graphs)
    features, made = engine.expand(engine.encode(list(squares(1)))[0]), list(map(len, engine.graphs))
    engine._transfer._under_way.clear()
    concept = ConceptItem(features, SIZE, [STAR])
    click = VisualItem(features, SIZE, [VisualPrompt((Point(5, 6),))])
    engine.segment_concepts([concept])  # an image's pyramid is computed once
    waits = [
        on_cuda.device.waits_in(lambda: engine.start_encode(list(squares(2)))),
        on_cuda.device.waits_in(lambda: engine.segment_concepts([concept])),
        on_cuda.device.waits_in(lambda: engine.segment_visual([click])),
    ]
    assert waits == [0, 1, 1], on_cuda.device.waits
    assert list(map(len, engine.graphs)) == made


def test_the_host_prepares_two_batches_before_it_waits_for_the_first(on_cuda: OnCuda) -> None:
    def start() -> None:
        pending.append(on_cuda.engine.start_encode(list(squares(2))))

    pending: list[object] = []
    on_cuda.engine._transfer.wait_for_room()
    on_cuda.engine._transfer._under_way.clear()
    assert [on_cuda.device.waits_in(start) for _ in range(4)] == [0, 0, 1, 1], on_cuda.device.waits


def test_a_phrase_and_an_image_cost_once(on_cuda: OnCuda) -> None:
    def ask(text: str) -> int:
        item = ConceptItem(on_cuda.features[0], SIZE, [ConceptPrompt(text)])
        on_cuda.device.waits_in(lambda: on_cuda.engine.segment_concepts([item]))
        return on_cuda.device.kernels.total()

    fresh, known = ask("a phrase of its own"), ask("a phrase of its own")
    assert known < fresh
    assert ask("a phrase of its own") == known


def test_masks_stay_on_the_device_in_its_dtype(on_cuda: OnCuda) -> None:
    """Half the bytes on the way to the host; they are float32 where the model is."""
    found = on_cuda.engine.segment_concepts([ConceptItem(on_cuda.features[0], SIZE, [STAR])])[0][0]
    assert (found.mask_logits.device, found.mask_logits.dtype) == (CUDA, torch.bfloat16)
    assert len(found.mask_logits) == len(found.scores) == len(found.boxes) == DEEP.queries


def test_answers_are_those_of_the_cpu(on_cuda: OnCuda) -> None:
    """Both compute in bfloat16; values come from another build of the kernels at most."""
    plain = Engine.from_state(weights(), DEEP, device="cpu", dtype="float32")
    features = plain.expand(plain.encode([squares(1)[0]])[0])
    theirs = plain.segment_concepts([ConceptItem(features, SIZE, [STAR])])[0][0]
    ours = on_cuda.engine.segment_concepts([ConceptItem(on_cuda.features[0], SIZE, [STAR])])[0][0]
    np.testing.assert_allclose(ours.scores, theirs.scores, atol=0.02)
    click = [VisualPrompt((Point(50, 60),))]
    cpu = plain.segment_visual([VisualItem(features, SIZE, click)])[0][0]
    cuda = on_cuda.engine.segment_visual([VisualItem(on_cuda.features[0], SIZE, click)])[0][0]
    assert cuda.score == pytest.approx(cpu.score, abs=0.02)


@pytest.mark.parametrize(
    ("read", "waits"),
    [
        (lambda ones: ones.sum().item(), 1),
        (lambda ones: ones.cpu(), 1),
        (lambda ones: ones.nonzero(), 1),
        (lambda ones: ones[ones > 0], 1),
        (lambda ones: bool(ones[0] == 1), 1),
        (lambda ones: torch.tensor([1.0, 2.0], device=CUDA), 1),
        (lambda ones: torch.ones(2).pin_memory().to(CUDA, non_blocking=True), 0),
        (lambda ones: ones + 1, 0),
    ],
)
def test_the_count_sees_every_wait(
    on_cuda: OnCuda, read: Callable[[torch.Tensor], object], waits: int
) -> None:
    ones = torch.ones(2, device=CUDA)
    assert on_cuda.device.waits_in(lambda: read(ones)) == waits


def test_devices_do_not_mix(on_cuda: OnCuda) -> None:
    with pytest.raises(RuntimeError, match="on the device and on the host"):
        torch.ones(2, device=CUDA) + torch.ones(2)
