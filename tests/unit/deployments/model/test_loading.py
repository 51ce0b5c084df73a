import pytest

from deployments.config import EngineConfig
from deployments.model.loading import load_engine
from deployments.model.thread import ModelThread
from deployments.observe.metrics import NAMES, LocalMetrics


def test_a_replica_has_its_model_warmed_up_when_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Serve counts a replica as ready once its constructor has returned. On a CPU the encoder's canary is the first
    encode."""
    from sam3_engine.engine import Engine

    warmed: list[tuple[int, int]] = []
    monkeypatch.setattr(Engine, "warm_up", lambda _, images, prompts: warmed.append((images, prompts)))
    metrics = LocalMetrics()
    config = EngineConfig("tiny-random", None, "cpu", "float32", compile=False, threads=1)
    with ModelThread("model") as thread:
        loaded = load_engine(config, "decoder", metrics, thread, batch=32, hot=5)
    assert warmed == [(0, 32)]
    assert (loaded.engine.role, loaded.batch, loaded.hot) == ("decoder", 32, 5)


def test_batches_beyond_the_memory_are_counted() -> None:
    metrics = LocalMetrics()
    config = EngineConfig("tiny-random", None, "cpu", "float32", compile=False, threads=1)
    with ModelThread("model") as thread:
        engine = load_engine(config, "encoder", metrics, thread, batch=8).engine
    engine.on_out_of_memory()
    assert metrics.values[f'{NAMES.out_of_memory.name}{{part="encoder"}}'] == 1
