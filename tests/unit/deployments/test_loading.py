import os
from types import SimpleNamespace
from typing import Any

import pytest

from deployments.config import EngineConfig
from deployments.loading import give_way, load_engine
from deployments.metrics import LocalMetrics
from deployments.model_thread import ModelThread

CONFIG = EngineConfig("tiny", None, "auto", "auto", compile=False, threads=1, niceness=3)


@pytest.mark.parametrize(("device", "lower"), [("cpu", 3), ("cuda", 0)])
def test_the_thread_of_a_model_on_a_cpu_gives_way_and_no_other(device: str, lower: int) -> None:
    engine: Any = SimpleNamespace(device=SimpleNamespace(type=device))
    usual = os.nice(0)
    with ModelThread("model") as thread:
        thread.submit(give_way, engine, CONFIG).result()
        assert thread.submit(os.nice, 0).result() == min(usual + lower, 19)
    assert os.nice(0) == usual, "the event loop's"


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
