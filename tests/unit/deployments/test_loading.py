import os
from types import SimpleNamespace
from typing import Any

import pytest

from deployments.config import EngineConfig
from deployments.loading import give_way
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
