"""The parts of a model: an encoder needs the image trunk, a decoder everything but the trunk."""

from typing import Any, Literal, get_args

from torch import nn

Role = Literal["encoder", "decoder", "all"]
"""A process's work with the model: images to embeddings, embeddings and prompts to masks, or both."""

TRACKER = "inst_interactive_predictor.model"

VIDEO_ONLY = tuple(
    f"{TRACKER}.{part}"
    for part in (
        "transformer",
        "maskmem_backbone",
        "maskmem_tpos_enc",
        "mask_downsample",
        "no_mem_pos_enc",
        "no_obj_ptr",
        "no_obj_embed_spatial",
        "obj_ptr_proj",
        "obj_ptr_tpos_proj",
    )
)
"""Parts that remember earlier frames of a video."""

NO_MEMORY = f"{TRACKER}.no_mem_embed"
"""What an encoder adds to the features of an image. A decoder that tracks subtracts it again."""

MASK_DECODER = f"{TRACKER}.sam_mask_decoder"
MEMORY_ATTENTION = f"{TRACKER}.transformer"
OF_THE_CLICKS_MAPS = ("conv_s0", "conv_s1")
"""Parts of the mask decoder that an encoder runs: an embedding holds the maps that clicks read."""

ENCODER_PARTS = (
    "backbone.vision_backbone.trunk",
    "backbone.vision_backbone.sam2_convs",
    NO_MEMORY,
    *(f"{MASK_DECODER}.{part}" for part in OF_THE_CLICKS_MAPS),
)
"""The parts that an encoder runs, and nothing else: models with equal ones make the same embeddings."""

NOT_NEEDED: dict[Role, tuple[str, ...]] = {
    "encoder": (
        "backbone.language_backbone",
        "backbone.vision_backbone.convs",
        "transformer",
        "geometry_encoder",
        "segmentation_head",
        "dot_prod_scoring",
        f"{TRACKER}.sam_prompt_encoder",
    ),
    "decoder": ENCODER_PARTS[1:],
    "all": (),
}
"""Modules and parameters that a role never uses. The trunk and the text encoder are not even made where they are not
needed: see `assembly.build_model`."""


def check_role(role: str) -> None:
    """Raises ValueError for a name that is no role."""
    if role not in get_args(Role):
        raise ValueError(f"unknown role {role!r}: choose one of {', '.join(get_args(Role))}")


def keep_parts(model: nn.Module, role: Role, *, video: bool) -> None:
    """Take the parts out of a whole model that the role does not need; without `video`, also the parts for videos. An
    encoder never needs these."""
    check_role(role)
    tracks = video and role != "encoder"
    for path in (*NOT_NEEDED[role], *(() if tracks else VIDEO_ONLY)):
        if not (tracks and path == NO_MEMORY):
            _remove(model, path)
    if role == "encoder":
        decoder = model.get_submodule(MASK_DECODER)
        for name, _ in [*decoder.named_children(), *decoder.named_parameters(recurse=False)]:
            if name not in OF_THE_CLICKS_MAPS:
                setattr(decoder, name, None)


def _remove(model: nn.Module, path: str) -> None:
    *parents, name = path.split(".")
    parent: Any = model
    for step in parents:
        parent = getattr(parent, step)
        if parent is None:  # a model without the interactive part
            return
    setattr(parent, name, None)
