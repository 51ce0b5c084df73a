"""The shapes of a model's weights, without their memory."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from sam3_engine.assembly import build_model
from sam3_engine.checkpoint_files.checkpoint import Checkpoint
from sam3_engine.checkpoint_files.fitting import Shapes
from sam3_engine.checkpoint_files.names import official_name
from sam3_engine.spec import SAM3, SPECS, ModelSpec
from sam3_engine.weights import COMPUTED


@lru_cache
def model_shapes(spec: ModelSpec, *, video: bool = False) -> Shapes:
    """Shapes of all weights by official name, without the buffers that the model computes when it is built. video: also
    those of the parts that only video needs."""
    with EmptyIsMeta():
        model = build_model(spec, video=video)
    return {
        official_name(key): tuple(value.shape)
        for key, value in model.state_dict().items()
        if not key.endswith(COMPUTED)
    }


def fitting(opened: Checkpoint, shapes: Shapes) -> int:
    """The number of a checkpoint's tensors that have the name and the shape of one of the model's."""
    given = opened.tensors
    return sum(name in given and given[name].shape == shape for name, shape in shapes.items())


def closest_model(opened: Sequence[Checkpoint]) -> ModelSpec:
    """The model of which the checkpoints have most tensors in its sizes; Meta's where none fits.

    opened: a checkpoint, and perhaps its base, which tells the size of an adapter.
    """
    counts = {spec: sum(fitting(one, model_shapes(spec)) for one in opened) for spec in SPECS.values()}
    best = max(counts, key=lambda spec: counts[spec])
    return best if counts[best] else SAM3


FILLS = {
    getattr(torch.Tensor, name)
    for name in ("uniform_", "normal_", "zero_", "fill_", "mul_", "add_", "erfinv_", "clamp_")
}
"""The methods by which modules fill their parameters."""


class EmptyIsMeta(TorchFunctionMode):
    """Makes `torch.empty` give tensors on the meta device, which modules create their parameters with, and leaves out
    the filling of these, as torch takes a second for the shapes of that alone. Other tensors get their values."""

    def __torch_function__(
        self, func: Any, _types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in FILLS and args[0].is_meta:
            return args[0]
        if func is torch.empty:
            return func(*args, **{**(kwargs or {}), "device": "meta"})
        return func(*args, **(kwargs or {}))
