"""The benchmark of tracking measures what it says."""

import pytest

from bench.timing import Cost
from bench.video.drawn import PLACES, SETTLED, frames_of, settled
from bench.video.full_size import full_size
from bench.video.speed import arithmetic, memory, speeds
from sam3_engine.engine import Engine
from sam3_engine.spec import TINY


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.random(TINY, device="cpu", dtype="float32", video=True)


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects that never overlap: random weights find all of them everywhere, and those that lose cells cost more."""
    monkeypatch.setattr(
        "sam3_engine.tracking.sessions.separate", lambda engine, items, answers, kinds: answers
    )


def test_frames_with_objects_are_measured_beside_encoding_alone(engine: Engine) -> None:
    costs = speeds(engine, 0.01, (1, 2), peer=(2,))
    assert list(costs) == ["encode", "1", "2", "transformers encode", "transformers 2"]
    assert all(cost.wall > 0 and cost.calls >= 5 for cost in costs.values())


@pytest.mark.usefixtures("apart")
def test_arithmetic_of_objects_comes_on_top_of_an_encode(engine: Engine) -> None:
    counted = arithmetic(engine, (1, 2, 4))
    assert 0 < counted["encode"] < counted["1"] < counted["2"] < counted["4"]
    assert counted["2"] - counted["1"] == (counted["4"] - counted["2"]) / 2, "what a frame shares counts once"


@pytest.mark.usefixtures("apart")
def test_a_few_frames_have_full_memories() -> None:
    costs, operations = full_size(2, 1, TINY)
    assert {name: type(cost) for name, cost in costs.items()} == {"encode": Cost, "step": Cost}
    engine = Engine.random(TINY, device="cpu", dtype="float32", video=True)
    counted = arithmetic(engine, (2,))
    assert operations["encode"] + operations["step"] == counted["2"]


def test_all_objects_are_measured_with_full_memories() -> None:
    """An object in doubt would remember fewer frames, and cost less."""
    engine = Engine.load("tiny", device="cpu", video=True)
    session, _ = settled(engine, frames_of(engine), len(PLACES))
    assert len(session.objects) == len(PLACES)
    for one in session.objects:
        assert one.seen == SETTLED - 1
        assert len([memory for memory in one.state.recent if memory.features is not None]) == TINY.memories


def test_a_session_that_goes_on_keeps_its_size(engine: Engine) -> None:
    short, long = memory(engine, 1, 2), memory(engine, SETTLED, 2)
    assert short.early_state == short.state == long.state
    assert long.early > 0
