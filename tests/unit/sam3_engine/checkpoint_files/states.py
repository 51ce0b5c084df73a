"""States by official name, and their comparison with a loaded model."""

from collections.abc import Mapping

import torch

from sam3_engine.checkpoint_files.fitting import Weights

State = dict[str, torch.Tensor]


def assert_equal(
    weights: Weights, expected: Mapping[str, torch.Tensor], names: tuple[str, ...] | None = None
) -> None:
    for name in names or weights.own:
        assert torch.equal(weights.tensors[name].read(), expected[name]), name
