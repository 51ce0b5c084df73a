"""The comparison of the trunk with the package's, on a few scenes: tests/drill has 200."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from bench.gpu import float8, trunk
from bench.gpu.setting import setting
from bench.gpu.speed import Roofline
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


def test_float8_is_compared_with_float32_and_bfloat16() -> None:
    """The scenes' masks, and a relative error of the features."""
    found = list(float8.agrees(setting("cpu", "tiny", 0.01), 2))
    assert [one.what.rpartition(": ")[2] for one in found] == ["concept", "click", "relative error"]
    assert all(one.held for one in found), found


def test_a_gpu_without_float8_is_left_out_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 0))
    asked = replace(setting("cpu", "tiny", 0.01), device=torch.device("cuda:0"))
    (verdict,) = float8.agrees(asked, 2)
    assert "8.9 (Ada, Hopper) or later" in verdict.figures
    assert not list(float8.takes(asked, (1,), Roofline(1.0, 1.0)))
