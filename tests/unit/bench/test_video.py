"""The benchmark of tracking measures what it says."""

import pytest

from bench.video import SETTLED, memory, speeds
from sam3_engine.engine import Engine
from sam3_engine.spec import TINY


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.random(TINY, device="cpu", dtype="float32", video=True)


def test_frames_with_objects_are_measured_beside_encoding_alone(engine: Engine) -> None:
    costs = speeds(engine, 0.01, (1, 2))
    assert list(costs) == ["encode", "1", "2"]
    assert all(cost.wall > 0 and cost.calls >= 5 for cost in costs.values())


def test_a_session_that_goes_on_keeps_its_size(engine: Engine) -> None:
    short, long = memory(engine, 1, 2), memory(engine, SETTLED, 2)
    assert short.state == long.state
    assert long.early > 0
