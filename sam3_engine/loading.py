"""Loads a checkpoint, from the bundled file, a path or the Hub, and the part of a model that a process needs."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from sam3.model.sam3_image import Sam3Image
from torch import nn
from torch.overrides import TorchFunctionMode

from sam3_engine.assembly import build_model
from sam3_engine.bundled import load_bundled
from sam3_engine.device import Precision
from sam3_engine.hub import resolve_checkpoint
from sam3_engine.roles import MASK_DECODER, OF_THE_CLICKS_MAPS, Role
from sam3_engine.spec import TINY, ModelSpec
from sam3_engine.weights import State, load_state, matching

ENCODES = (
    "backbone.vision_backbone.trunk.",
    "backbone.vision_backbone.sam2_convs.",
    *(f"{MASK_DECODER}.{part}." for part in OF_THE_CLICKS_MAPS),
)
"""Modules that run in an encode; all others run in decoders."""

MATRICES = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
"""Modules whose weight and bias autocast converts at every call, one kernel each: stored in that format, they give the
same answer."""
LARGE_TABLE = 1_000_000
"""Elements from which an embedding table is stored in half precision too."""


def read_checkpoint(spec: ModelSpec, checkpoint: str | None) -> State:
    """A checkpoint's tensors, under its own names. Raises CheckpointError (see `sam3_engine.errors`).

    checkpoint: a file or a directory with `sam3.pt` in it. None means the bundled file for `tiny` and the Hub for
    `sam3`.
    """
    if spec is TINY and checkpoint is None:
        return load_bundled()
    return load_state(resolve_checkpoint(checkpoint))


def load_model(
    spec: ModelSpec,
    state: Mapping[str, torch.Tensor],
    role: Role,
    precision: Precision,
    device: torch.device,
) -> Sam3Image:
    """The part of a model that the role needs, on the device, each weight in the format that computes with it.

    state: as read, of the whole model; the model keeps none of its memory. Raises WrongCheckpoint where the role's part
    of it does not fit.
    """
    model = without_values(spec, role, precision)
    wanted = model.state_dict()
    # In the file's order: the file is mapped, and read from front to back.
    own = {
        key: value.detach().to(device, wanted[key].dtype, copy=True)
        for key, value in matching(model, state).items()
    }
    model.load_state_dict(own, strict=False, assign=True)
    return model.to(device).eval().requires_grad_(False)


def without_values(spec: ModelSpec, role: Role, precision: Precision) -> Sam3Image:
    """A model whose parameters have shapes and dtypes, but no memory: they are on the meta device. Buffers that are
    computed from the sizes have their values."""
    with _EmptyIsMeta():
        model = build_model(spec, role)
    for name, matrix in _matrices(model):
        encodes = name.startswith(ENCODES)
        matrix.data = matrix.data.to(precision.trunk if encodes else precision.decoders)
    return model


def _matrices(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """The parameters that are stored in the format of the arithmetic, by name.

    All others stay float32: norms, and small tables such as the queries' places, which are added to what is computed in
    float32.
    """
    for name, module in model.named_modules():
        if isinstance(module, MATRICES) and not _outside_autocast(name):
            yield f"{name}.weight", module.weight
            if module.bias is not None:
                yield f"{name}.bias", module.bias
        elif isinstance(module, nn.MultiheadAttention):
            yield f"{name}.in_proj_weight", module.in_proj_weight
            yield f"{name}.in_proj_bias", module.in_proj_bias
        elif isinstance(module, nn.Embedding) and module.weight.numel() >= LARGE_TABLE:
            yield f"{name}.weight", module.weight


def _outside_autocast(name: str) -> bool:
    """The package switches autocast off around these on CUDA."""
    return name.startswith("transformer.decoder.layers.") and name.endswith((".linear1", ".linear2"))


class _EmptyIsMeta(TorchFunctionMode):
    """Makes `torch.empty` give tensors on the meta device: modules create their parameters with it, and filling these
    with random values then costs nothing. Other tensors get their values."""

    def __torch_function__(
        self, func: Any, _types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.empty:
            return func(*args, **{**(kwargs or {}), "device": "meta"})
        return func(*args, **(kwargs or {}))
