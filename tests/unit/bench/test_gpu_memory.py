"""The check of short memory tells an engine that answers from one that does not."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bench.gpu import memory
from bench.gpu.setting import Setting, setting

TOTAL, WEIGHTS, ITEM = 1000, 100, 10


class Card:
    """A GPU's memory: weights lie in it, and each item of a batch takes some more while it is computed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.limit, self.peak = float(TOTAL), 0
        for name, stand_in in {
            "synchronize": lambda _: None,
            "empty_cache": lambda: None,
            "reset_peak_memory_stats": self.reset,
            "memory_reserved": lambda _: WEIGHTS,
            "max_memory_reserved": lambda _: self.peak,
            "get_device_properties": lambda _: SimpleNamespace(total_memory=TOTAL),
            "set_per_process_memory_fraction": self.set_limit,
        }.items():
            monkeypatch.setattr(torch.cuda, name, stand_in)

    def reset(self, _device: object) -> None:
        self.peak = 0

    def set_limit(self, fraction: float, _device: object) -> None:
        self.limit = fraction * TOTAL

    def computing(self, run: Callable[..., Any], *given: Any, items: Sequence[object]) -> Any:
        needed = WEIGHTS + ITEM * len(items)
        if needed > self.limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        self.peak = max(self.peak, needed)
        return run(*given)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Setting:
    """An engine on such a card."""
    card, made = Card(monkeypatch), setting("cpu", "tiny", 0.01)
    engine = made.engine()
    encode, ground = engine._encode, engine._ground
    monkeypatch.setattr(engine, "_encode", lambda images: card.computing(encode, images, items=images))
    monkeypatch.setattr(
        engine, "_ground", lambda items, chunk: card.computing(ground, items, chunk, items=chunk)
    )
    return made


def test_an_engine_that_halves_its_batches_holds(asked: Setting) -> None:
    verdicts = list(memory.where_memory_is_short(asked))
    assert all(verdict.held for verdict in verdicts), verdicts
    assert [verdict.figures for verdict in verdicts] == [
        *("8 of 8 answered, 1 batches did not fit", "DeviceFull", ""),
        *("16 of 16 answered, 1 batches did not fit", "DeviceFull", ""),
    ]


def test_an_engine_that_does_not_is_found_out(asked: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sam3_engine.engine.in_halves", lambda run, items, _: list(run(items)))
    with pytest.raises(torch.OutOfMemoryError):
        list(memory.where_memory_is_short(asked))
