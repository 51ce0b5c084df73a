"""Loads a checkpoint of any format, over the base that it lacks something of, and the part of a model that a process
needs."""

import logging
from collections.abc import Iterator, Mapping

import torch
from sam3.model.sam3_image import Sam3Image
from torch import nn

from sam3_engine.assembly import build_model
from sam3_engine.bundled import BUNDLED_TINY
from sam3_engine.checkpoint_files.checkpoint import Checkpoint, open_checkpoint
from sam3_engine.checkpoint_files.fitting import fit
from sam3_engine.checkpoint_files.names import official_name
from sam3_engine.checkpoint_files.shapes import EmptyIsMeta, model_shapes
from sam3_engine.checkpoint_files.tensors import unusable
from sam3_engine.device import Precision
from sam3_engine.errors import WrongCheckpoint
from sam3_engine.hub import resolve_checkpoint
from sam3_engine.roles import MASK_DECODER, MEMORY_ATTENTION, OF_THE_CLICKS_MAPS, Role
from sam3_engine.spec import TINY, ModelSpec
from sam3_engine.weights import matching

logger = logging.getLogger(__name__)

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


def read_checkpoint(
    spec: ModelSpec, checkpoint: str | None = None, base: str | None = None, *, video: bool = False
) -> Mapping[str, torch.Tensor]:
    """All weights of a model by official name, checked against its shapes; each is read only when it is asked for.

    checkpoint: where it is, see `hub.resolve_checkpoint`. None means the bundled file for `tiny` and `facebook/sam3`
    for `sam3`. base: the weights that a fine-tune or an adapter is laid over; None means the same as for `checkpoint`.
    It is opened, and fetched, only where the checkpoint lacks something. video: also the weights that only video needs.
    Raises CheckpointError (see `sam3_engine.errors`).
    """

    def default() -> Checkpoint:
        return _open(spec, base)

    opened = _open(spec, checkpoint)
    # The base's memory would be joined to a model that it was not trained with.
    if video and opened.video:
        raise WrongCheckpoint(
            f"{opened.path} ({opened.format}) has weights for video that are not read yet: it serves images only"
        )
    below = None if checkpoint is None else default
    weights = fit(opened, model_shapes(spec, video=video), below, whole_parts=base is None)
    logger.info("%s (%s): %s", opened.path, opened.format, weights)
    return weights.values()


def _open(spec: ModelSpec, checkpoint: str | None) -> Checkpoint:
    if checkpoint is None and spec is TINY:
        return open_checkpoint(BUNDLED_TINY)
    return open_checkpoint(resolve_checkpoint(checkpoint))


def load_model(
    spec: ModelSpec,
    state: Mapping[str, torch.Tensor],
    role: Role,
    precision: Precision,
    device: torch.device,
    *,
    video: bool = False,
) -> Sam3Image:
    """The part of a model that the role needs, on the device, each weight in the format that computes with it.

    state: as read, of the whole model; the model keeps none of its memory. video: with the parts that only video needs.
    Raises WrongCheckpoint where the role's part of it does not fit, or holds NaN or infinity.
    """
    model = without_values(spec, role, precision, video=video)
    wanted = model.state_dict()
    # In the file's order: the file is mapped, and read from front to back.
    own = {}
    for key, value in matching(model, state).items():
        own[key] = value.detach().to(device, wanted[key].dtype, copy=True)
        if (why := unusable(official_name(key), own[key])) is not None:
            raise WrongCheckpoint(f"the checkpoint cannot be used: {why}")
    model.load_state_dict(own, strict=False, assign=True)
    return model.to(device).eval().requires_grad_(False)


def without_values(spec: ModelSpec, role: Role, precision: Precision, *, video: bool = False) -> Sam3Image:
    """A model whose parameters have shapes and dtypes, but no memory: they are on the meta device. Buffers that are
    computed from the sizes have their values."""
    with EmptyIsMeta():
        model = build_model(spec, role, video=video)
    for name, matrix in _matrices(model):
        matrix.data = matrix.data.to(_format_of(name, precision))
    return model


def _format_of(name: str, precision: Precision) -> torch.dtype:
    """The format that computes with a parameter."""
    if name.startswith(ENCODES):
        return precision.trunk
    return precision.memories if name.startswith(f"{MEMORY_ATTENTION}.") else precision.decoders


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
