"""The comparison of the trunk with the package's, on a few scenes: tests/drill has 200."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from bench.gpu import trunk
from bench.gpu.trunk import MASKS, SCORES, Differences, differences
from sam3_engine.engine import Engine

SCENES = 5


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine.load("tiny", device="cpu", dtype="float32")


def test_the_trunk_in_bfloat16_finds_what_the_packages_finds(engine: Engine) -> None:
    found: Differences = differences(engine, SCENES)["package"]
    for kind in ("concept", "click"):
        assert len(found.ious[kind]) >= SCENES
        assert max(found.scores[kind]) <= SCORES
        assert np.mean(found.ious[kind]) >= MASKS


def test_another_trunk_is_found_out(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(pixels: torch.Tensor) -> Sequence[torch.Tensor]:
        assert engine.trunk is not None
        return [engine.trunk(pixels)[-1].flip(-1)]

    monkeypatch.setattr(trunk, "in_half_precision", lambda _: wrong)
    found = differences(engine, 2)["package"]
    assert max(found.scores["concept"]) > SCORES
    assert np.mean(found.ious["concept"]) < MASKS
