"""One engine with random weights for all tests of this folder: shapes and invariants need no training."""

import numpy as np
import numpy.typing as npt
import pytest
import torch

from sam3_engine.engine import Engine
from sam3_engine.spec import TINY

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def random_engine() -> Engine:
    return Engine.random(TINY, device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def squares() -> list[npt.NDArray[np.uint8]]:
    """Three different pictures of the model's size."""
    rng = np.random.default_rng(7)
    smooth = rng.integers(0, 255, (3, 7, 7, 3), dtype=np.uint8)
    cells = np.ones((TINY.image_size // 7, TINY.image_size // 7, 1), dtype=np.uint8)
    return [np.ascontiguousarray(np.kron(one, cells)) for one in smooth]
