"""The shapes of a model's weights, without their memory."""

from functools import lru_cache
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from sam3_engine.assembly import build_model
from sam3_engine.checkpoint_files.fitting import Shapes
from sam3_engine.checkpoint_files.names import official_name
from sam3_engine.spec import ModelSpec
from sam3_engine.weights import COMPUTED


@lru_cache
def model_shapes(spec: ModelSpec, *, video: bool = False) -> Shapes:
    """Shapes of all weights by official name, without what the model computes when it is built. video: also those of
    the parts that only video needs."""
    with EmptyIsMeta():
        model = build_model(spec, video=video)
    return {
        official_name(key): tuple(value.shape)
        for key, value in model.state_dict().items()
        if not key.endswith(COMPUTED)
    }


class EmptyIsMeta(TorchFunctionMode):
    """Makes `torch.empty` give tensors on the meta device: modules create their parameters with it, and filling these
    with random values then costs nothing. Other tensors get their values."""

    def __torch_function__(
        self, func: Any, _types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.empty:
            return func(*args, **{**(kwargs or {}), "device": "meta"})
        return func(*args, **(kwargs or {}))
