from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deployments.config import EngineConfig
from deployments.model.loading import load_engine
from deployments.model.thread import ModelThread
from deployments.observe.metrics import NAMES, Metrics
from sam3_engine.errors import WrongCheckpoint
from sam3_engine.loading import read_checkpoint
from sam3_engine.spec import TINY
from sam3_engine.weights import encoder_digest
from training.siblings import model_of_another_trunk, model_of_one_trunk


def test_a_replica_has_its_model_warmed_up_when_it_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Serve counts a replica as ready once its constructor has returned. On a CPU the encoder's canary is the first
    encode."""
    from sam3_engine.engine import Engine

    warmed: list[tuple[int, int]] = []
    monkeypatch.setattr(Engine, "warm_up", lambda _, images, prompts: warmed.append((images, prompts)))
    metrics = Metrics()
    config = EngineConfig("tiny-random", None, "cpu", "float32", compile=False, threads=1)
    with ModelThread("model") as thread:
        loaded = load_engine(config, "decoder", metrics, thread, batch=32, hot=5)
    assert warmed == [(0, 32)]
    assert (loaded.engine.role, loaded.batch, loaded.hot) == ("decoder", 32, 5)


def test_batches_beyond_the_memory_are_counted() -> None:
    metrics = Metrics()
    config = EngineConfig("tiny-random", None, "cpu", "float32", compile=False, threads=1)
    with ModelThread("model") as thread:
        engine = load_engine(config, "encoder", metrics, thread, batch=8).engine
    engine.on_out_of_memory()
    assert metrics.values[f'{NAMES.out_of_memory.name}{{part="encoder"}}'] == 1


def test_graphs_are_used_as_configured_and_counted() -> None:
    metrics = Metrics()
    config = EngineConfig("tiny-random", None, "cpu", "float32", compile=False, threads=1, cuda_graphs="all")
    with ModelThread("model") as thread:
        engine = load_engine(config, "encoder", metrics, thread, batch=8).engine
    assert engine.graph_use == "all"
    counts = {
        state: metrics.values[f'{NAMES.cuda_graphs.name}{{part="encoder",state="{state}"}}']
        for state in ("made", "failed")
    }
    assert counts == {"made": 0, "failed": 0}, "a CPU has none"


def start(**config: Any) -> None:
    with ModelThread("model") as thread:
        engine = EngineConfig(
            "tiny", config.pop("checkpoint", None), "cpu", "float32", compile=False, threads=1
        )
        load_engine(replace(engine, **config), "decoder", Metrics(), thread, batch=1)


def test_a_replica_refuses_weights_that_encode_otherwise_than_was_deployed(tmp_path: Path) -> None:
    digest = encoder_digest(read_checkpoint(TINY))
    start(encoder=digest)
    with pytest.raises(WrongCheckpoint, match="the same file on every node"):
        start(encoder="0" * 16)


def test_a_replica_checks_that_it_encodes_like_the_model_that_the_file_names(tmp_path: Path) -> None:
    own = str(model_of_one_trunk(tmp_path / "own.safetensors"))
    other = str(model_of_another_trunk(tmp_path / "other.safetensors"))
    start(checkpoint=own, encodes_like=(None, None))
    with pytest.raises(WrongCheckpoint, match="leave out its `trunk`"):
        start(checkpoint=other, encodes_like=(own, None))
