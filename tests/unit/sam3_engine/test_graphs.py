"""Graphs of pure functions: captured at the warm-up alone, exact, and never in the way."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
import torch

from sam3_engine.engine import ConceptItem, Engine, VisualItem
from sam3_engine.features import Features
from sam3_engine.graphs import Function, Graph, Graphs, Tensors
from sam3_engine.spec import GRAPHED_IMAGES, TINY
from sam3_engine.types import ConceptPrompt, ImageSize, Point, VisualPrompt
from tests.support.host_graphs import HostPool

SIZE = ImageSize(300, 400)
Square = npt.NDArray[np.uint8]


class FullPool:
    """Has no memory left."""

    def capture(self, function: Function, inputs: Sequence[torch.Tensor]) -> Graph:
        raise torch.OutOfMemoryError("CUDA out of memory")

    def empty(self) -> "FullPool":
        return self


def double(values: torch.Tensor) -> Tensors:
    return (values * 2,)


def test_a_graph_is_captured_at_the_warm_up_alone() -> None:
    pool = HostPool()
    graphs = Graphs(double, pool)
    with graphs.run(torch.ones(3), count=1) as (out,):
        assert out.tolist() == [2, 2, 2]
    assert len(graphs) == 0
    with graphs.capturing():
        for values in (torch.zeros(3), torch.ones(3), torch.zeros(3, dtype=torch.float64)):
            with graphs.run(values, count=1) as (out,):
                assert torch.equal(out, values * 2)
    assert len(graphs) == len(pool.captured) == 2, "one for each shape and dtype"
    with graphs.run(torch.full((3,), 4.0), count=1) as (out,):
        assert out.tolist() == [8, 8, 8]
    assert pool.captured[0].replays == 3
    with graphs.run(torch.ones(5), count=1) as (out,):
        assert len(out) == 5
    assert len(graphs) == 2, "an unknown shape runs without one"


def test_a_capture_that_fails_is_told_of_and_the_function_runs_as_it_is(
    caplog: pytest.LogCaptureFixture,
) -> None:
    graphs = Graphs(double, FullPool())
    for _ in range(2):
        with graphs.capturing(), graphs.run(torch.ones(2), count=1) as (out,):
            assert out.tolist() == [2, 2]
    assert (len(graphs), graphs.failed) == (0, 1)
    assert [record.levelname for record in caplog.records] == ["ERROR"], "and not tried again"


def test_a_large_batch_has_no_graph() -> None:
    graphs = Graphs(double, HostPool(), largest=4)
    for count in (4, 8):
        with graphs.capturing(), graphs.run(torch.ones(count), count=count) as (out,):
            assert len(out) == count
    assert len(graphs) == 1


def test_an_error_within_the_block_lets_the_graph_go() -> None:
    pool = HostPool()
    graphs = Graphs(double, pool)
    with pytest.raises(ZeroDivisionError), graphs.capturing(), graphs.run(torch.ones(2), count=1):
        raise ZeroDivisionError
    with graphs.run(torch.zeros(2), count=1) as (out,):
        assert out.tolist() == [0, 0]


def test_batches_are_padded_where_there_are_graphs_alone() -> None:
    sizes = [1, 2, 3, 5, 9, 16, 17]
    assert [Graphs(double, HostPool()).padded(size) for size in sizes] == [1, 2, 4, 8, 16, 16, 17]
    assert Graphs(double, HostPool(), largest=4).padded(5) == 5
    assert [Graphs.on(double, torch.device("cpu")).padded(size) for size in sizes] == sizes


def test_copied_outputs_are_not_overwritten() -> None:
    graphs = Graphs(double, HostPool(), largest=2)
    with graphs.capturing():
        first = graphs.copied(torch.ones(2), count=2)
    second = graphs.copied(torch.zeros(2), count=2)
    assert (first[0].tolist(), second[0].tolist()) == ([2, 2], [0, 0])
    assert graphs.copied(torch.ones(3), count=3)[0].tolist() == [2, 2, 2]


def test_graphs_are_forgotten_and_may_be_captured_again() -> None:
    graphs = Graphs(double, HostPool())
    for _ in range(2):
        with graphs.capturing(), graphs.run(torch.ones(2), count=1) as (out,):
            assert out.tolist() == [2, 2]
        assert len(graphs) == 1
        graphs.forget()
        assert (len(graphs), graphs.padded(3)) == (0, 4)
    graphs.forget(forever=True)
    with graphs.capturing(), graphs.run(torch.ones(2), count=1) as (out,):
        assert out.tolist() == [2, 2]
    assert (len(graphs), graphs.padded(3)) == (0, 3)


Graphed = tuple[Engine, list[HostPool]]


@pytest.fixture
def cold(monkeypatch: pytest.MonkeyPatch) -> Graphed:
    """An engine whose warm-up makes graphs on the CPU."""
    pools: list[HostPool] = []

    def on(function: Function, device: torch.device, largest: int = 16) -> Graphs:
        pools.append(HostPool())
        return Graphs(function, pools[-1], largest)

    monkeypatch.setattr(Graphs, "on", on)
    engine = Engine.random(TINY, device="cpu", dtype="float32")
    monkeypatch.setattr(engine, "_batches", lambda most: range(1, most + 1))
    return engine, pools


@pytest.fixture
def graphed(cold: Graphed) -> Graphed:
    """It, warmed up."""
    cold[0].warm_up(prompts=4)
    return cold


def test_an_engine_with_graphs_answers_as_one_without(
    graphed: Graphed, random_engine: Engine, squares: list[Square]
) -> None:
    """Batches of three are padded to four; outputs are overwritten by the next call."""
    engine, pools = graphed
    *decoders, encodes = pools
    assert all(pool.captured for pool in decoders)
    assert not encodes.captured, "by default decoders alone have graphs"
    captured = sum(len(pool.captured) for pool in pools)
    box = (40.0, 50.0, 160.0, 170.0)
    concepts = [
        ConceptPrompt("star", score_threshold=0.0),
        ConceptPrompt("absent", score_threshold=1.0),
        ConceptPrompt("circle", score_threshold=0.0),
    ]
    shown = [*concepts[:2], ConceptPrompt(None, (box,), (True,), 0.0)]
    clicks = [VisualPrompt((Point(x, 60),)) for x in (5, 90, 210)]

    def answers(one: Engine) -> list[object]:
        features: list[Features] = [one.expand(embedding) for embedding in one.encode(squares[:2])]
        found: list[object] = []
        for each in features:
            for prompts in (concepts, shown, concepts[:1]):
                found += one.segment_concepts([ConceptItem(each, SIZE, prompts)])[0]
            masks = one.segment_visual([VisualItem(each, SIZE, clicks)])[0]
            again = VisualPrompt((Point(5, 60), Point(9, 9)), previous_logits=masks[0].low_res_logits)
            found += [*masks, *one.segment_visual([VisualItem(each, SIZE, [again], multimask=False)])[0]]
        return found

    for ours, plain in zip(answers(engine), answers(random_engine), strict=True):
        for name in ("scores", "boxes", "mask_logits", "score", "low_res_logits"):
            if hasattr(plain, name):
                np.testing.assert_allclose(
                    getattr(ours, name), getattr(plain, name), rtol=1e-3, atol=2e-3, err_msg=name
                )
    assert sum(len(pool.captured) for pool in pools) == captured, "no request waits for a capture"
    assert all(one.replays for pool in pools for one in pool.captured[:1])


def test_encodes_of_few_images_are_graphs_where_they_are_asked_for(
    cold: Graphed, random_engine: Engine, squares: list[Square]
) -> None:
    """An embedding stays what it was while later encodes overwrite the graph's memory."""
    engine, _ = cold
    engine.use_graphs("all")
    engine.warm_up(images=4, prompts=1)
    encodes = engine.graphs[-1]
    assert len(encodes) == GRAPHED_IMAGES
    batches = [squares[:1], squares[1:2], squares[:2], squares[:3]]
    mine = [engine.start_encode(batch) for batch in batches]
    for batch, pending in zip(batches, mine, strict=True):
        for one, theirs in zip(pending, random_engine.encode(batch), strict=True):
            for name, array in one.result().arrays.items():
                ours, wanted = array.astype(np.float32), theirs.arrays[name].astype(np.float32)
                np.testing.assert_allclose(ours, wanted, rtol=1e-4, atol=1e-4, err_msg=name)
    assert len(encodes) == GRAPHED_IMAGES, "no request waits for a capture"


def test_no_graphs_are_made_where_none_are_wanted(graphed: Graphed, squares: list[Square]) -> None:
    """And batches are not padded."""
    engine, _ = graphed
    assert sum(map(len, engine.graphs)) > 0
    features = engine.expand(engine.encode(squares[:1])[0])
    engine.use_graphs("none")
    engine.warm_up(images=2, prompts=3)
    assert sum(map(len, engine.graphs)) == 0
    assert {graphs.padded(3) for graphs in engine.graphs} == {3}
    prompts = [ConceptPrompt("star", score_threshold=0.0)] * 3
    assert len(engine.segment_concepts([ConceptItem(features, SIZE, prompts)])[0]) == 3


def test_an_engine_that_tracks_has_the_same_graphs(cold: Graphed, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, _ = cold
    tracks = Engine.random(TINY, device="cpu", dtype="float32", video=True)
    monkeypatch.setattr(tracks, "_batches", lambda most: range(1, most + 1))
    for one in (engine, tracks):
        one.warm_up(prompts=2)
    assert list(map(len, tracks.graphs)) == list(map(len, engine.graphs))
