"""The names of weights in the official `sam3.pt`, in the model in memory, in files of training and in SAM 3.1.

The official names begin with `detector.` (the trunk, both necks, text, exemplars, concepts) and `tracker.` (clicks, and
video, which images never use).
"""

from collections.abc import Iterable

DETECTOR, TRACKER = "detector.", "tracker."
CLICKS_IN_MODEL = "inst_interactive_predictor.model."
"""The module of `Sam3Image` with the weights that the official file has below `tracker.`."""

ROOTS = ("backbone.", "geometry_encoder.", "transformer.", "segmentation_head.", "dot_prod_scoring.")
"""Children of `Sam3Image`: the names of the package's trainer begin with them."""
WRAPPERS = (
    "module.",
    "_orig_mod.",
    "_fsdp_wrapped_module.",
    "_checkpoint_wrapped_module.",
    "_forward_module.",
    "model.",
    "net.",
    "sam3_model.",
    "base_model.",
)
"""Prefixes that DDP, torch.compile, FSDP, DeepSpeed, Lightning, peft and training programs put before every name."""
INSIDE = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""Parts that wrappers of single modules put into names."""

VISION = "detector.backbone.vision_backbone."
MULTIPLEX = "tracker.model."
"""Prefix of SAM 3.1's video tracker. The weights for clicks have it too, and names of their own behind it."""
MULTIPLEX_CLICKS = ("interactive_", "interactivity_")
PROPAGATION = f"{VISION}propagation_convs."
"""The neck of SAM 3.1's video tracker."""

PARTS = {
    "trunk": (f"{VISION}trunk.",),
    "concept neck": (f"{VISION}convs.",),
    "click neck": (f"{VISION}sam2_convs.",),
    "text": ("detector.backbone.language_backbone.",),
    "exemplars": ("detector.geometry_encoder.",),
    "concepts": ("detector.transformer.", "detector.dot_prod_scoring."),
    "concept masks": ("detector.segmentation_head.",),
    "clicks": ("tracker.sam_prompt_encoder.", "tracker.sam_mask_decoder.", "tracker.no_mem_embed"),
    "video": ("tracker.",),
}
"""The model's parts by the beginnings of official names; the first that fits counts."""

UNUSED = (
    f"{VISION}convs.3.",  # the model drops the coarsest of the four levels
    f"{VISION}sam2_convs.3.",
    "detector.geometry_encoder.points_",  # exemplars are boxes
    "tracker.no_mem_pos_enc",
)
"""Weights that no request uses. A file may leave them out."""


def official_name(key: str) -> str:
    """The official name of a key of the model's state dict."""
    if key.startswith(CLICKS_IN_MODEL):
        return TRACKER + key.removeprefix(CLICKS_IN_MODEL)
    return DETECTOR + key


def part_of(name: str) -> str:
    """The part of the model that an official name belongs to."""
    return next((part for part, starts in PARTS.items() if name.startswith(starts)), "other")


def used(name: str) -> bool:
    """True for the official name of a weight that requests need."""
    return not name.startswith(UNUSED)


def unwrapped(name: str) -> str:
    """The name without the parts that wrappers put before it and into it."""
    for part in INSIDE:
        name = name.replace(part, "")
    while name.startswith(WRAPPERS):
        name = name.split(".", 1)[1]
    return name


def is_multiplex(names: Iterable[str]) -> bool:
    """Recognise a file of SAM 3.1 by the names of its click weights."""
    clicks = tuple(MULTIPLEX + start for start in MULTIPLEX_CLICKS)
    return any(unwrapped(name).startswith(clicks) for name in names)


def from_package(name: str, multiplex: bool) -> str | None:
    """The official name of a weight in a file of the package: official, trained or SAM 3.1; None for any other name.

    multiplex: whether the file is one of SAM 3.1, whose other tracker weights serve its video model only.
    """
    name = unwrapped(name)
    if name.startswith(CLICKS_IN_MODEL):
        return TRACKER + name.removeprefix(CLICKS_IN_MODEL)
    if name.startswith(ROOTS):
        name = DETECTOR + name
    if multiplex and name.startswith(PROPAGATION):
        return None
    if multiplex and name.startswith(MULTIPLEX):
        start, _, rest = name.removeprefix(MULTIPLEX).partition("_")
        return TRACKER + rest if f"{start}_" in MULTIPLEX_CLICKS else None
    name = name.replace(f"{VISION}interactive_convs.", f"{VISION}sam2_convs.")
    return name if name.startswith((DETECTOR, TRACKER)) else None


def only_for_video(name: str, multiplex: bool) -> bool:
    """Tell SAM 3.1's weights for video from unknown names. The name is one that `from_package` does not know."""
    name = unwrapped(name)
    return multiplex and name.startswith((MULTIPLEX, PROPAGATION))
