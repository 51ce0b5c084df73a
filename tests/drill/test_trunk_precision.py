"""The trunk in bfloat16 on 200 drawn scenes: it finds what the package's finds under autocast, and nearly what both
find in float32."""

import numpy as np
import pytest

from bench.gpu.trunk import MASKS, SCORES, Differences, as_the_package, differences
from sam3_engine.engine import Engine

SCENES = 200


@pytest.fixture(scope="module")
def found() -> dict[str, Differences]:
    return differences(Engine.load("tiny", device="cpu", dtype="float32"), SCENES)


@pytest.mark.parametrize("kind", ["concept", "click"])
def test_it_answers_as_the_packages_trunk_in_bfloat16(found: dict[str, Differences], kind: str) -> None:
    assert len(found["package"].scores[kind]) >= SCENES
    verdict = as_the_package(found, kind)
    assert verdict.held, verdict.figures


@pytest.mark.parametrize("kind", ["concept", "click"])
def test_it_answers_nearly_as_in_float32(found: dict[str, Differences], kind: str) -> None:
    """A few undecided candidates move further, by the same in the package."""
    scores, ious = found["float32"].scores[kind], found["float32"].ious[kind]
    assert len(ious) >= SCENES
    assert np.quantile(scores, 0.99) <= SCORES
    assert np.mean(ious) >= MASKS
