import pytest

from deployments.config import EngineConfig
from deployments.model.loading import load_engine
from deployments.model.thread import ModelThread
from deployments.observe.metrics import LocalMetrics


def test_a_replica_has_its_model_warmed_up_when_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Serve counts a replica as ready once its constructor has returned."""
    from sam3_engine.engine import Engine

    warmed: list[tuple[int, int]] = []
    monkeypatch.setattr(Engine, "warm_up", lambda _, images, prompts: warmed.append((images, prompts)))
    metrics = LocalMetrics()
    config = EngineConfig("tiny-random", None, "cpu", "float32", compile=False, threads=1)
    with ModelThread("model") as thread:
        load_engine(config, metrics, thread, images=8, prompts=32)
    assert warmed == [(8, 32)]
