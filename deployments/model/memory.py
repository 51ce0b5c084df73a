"""Plans the memory of a process with a model on a GPU: weights, work under way, and images kept hot. No torch.

A process has its share of the card, which `model.loading` enforces. In float32 everything takes twice as much.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from deployments.resources import NotEnough
from sam3_engine.spec import GRAPHED_IMAGES, GraphUse

MB, GB = 10**6, 10**9

CONTEXT = 600 * MB
"""A CUDA context with the kernels that it has loaded: outside of what torch allocates."""
PASS_PROMPTS = 16
"""Most concept prompts in one pass of the decoder."""
WORK_SHARE = 0.6
"""Most of the memory beside the weights that a decoder's work may take, where nothing sets `SAM3_HOT_BYTES`."""

HOT_SHARE = 0.9
"""Part of what is then left that hot images fill: freed memory is not always where the next tensor needs it."""
HOT_ON_A_CPU = 2**30
"""Bytes of features that a decoder on a CPU keeps, where nothing sets `SAM3_HOT_BYTES`."""

TRACKS_ON_A_CPU = 2**28
"""Bytes of videos' states that a decoder on a CPU keeps."""
TRACKS_SHARE = 0.25
"""Bytes that videos' states may take on a GPU, where a decoder tracks: of the memory beside weights and work, or, where
`SAM3_HOT_BYTES` is set, beside it and as a part of it."""

Role = Literal["encoder", "decoder"]


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes that a model takes in half precision."""

    encoder: int
    """Weights of an encoder."""
    decoder: int
    """Weights of a decoder."""
    image: int
    """Work on one image of an encode's batch, at its peak."""
    prompt: int
    """Work on one concept prompt of a pass, at its peak: all 200 masks kept."""
    video: int
    """Weights that only videos need, in a decoder that tracks."""


FOOTPRINTS: Mapping[str, Footprint] = {
    "sam3": Footprint(encoder=915 * MB, decoder=830 * MB, image=215 * MB, prompt=460 * MB, video=20 * MB),
    "tiny": Footprint(encoder=4 * MB, decoder=12 * MB, image=8 * MB, prompt=8 * MB, video=2 * MB),
}
"""The memory of each model, by its name in the settings. A test counts the weights. The work of `sam3` was measured on
an H200 (docs/benchmarks.md): 1.71 GB for 8 images that are not compiled; 7.3 GB for 16 prompts, with all CUDA graphs.
The figures of `tiny` are generous."""


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Bytes of one process, of the card's `share` in all."""

    weights: int
    work: int
    hot: int
    """Bytes for hot images; 0 in an encoder."""
    batch: int
    """Most images, or concept prompts, in one pass."""
    tracks: int = 0
    """For the states of videos' objects."""

    @property
    def total(self) -> int:
        """All bytes, the CUDA context included."""
        return CONTEXT + self.weights + self.work + self.hot + self.tracks


def plan_memory(
    role: Role,
    model: str,
    card: int,
    share: float,
    *,
    batch: int = PASS_PROMPTS,
    hot: int | None = None,
    exact: bool = False,
    video: bool = False,
    graphs: GraphUse = "decoders",
) -> MemoryPlan:
    """The plan for a process with `share` of a card of `card` bytes.

    batch: images that an encoder should take at once, or prompts in a decoder's pass; fewer where they do not fit. hot:
    bytes of images to keep; None: most of what work leaves. exact: computes in float32. video: a decoder that tracks
    videos too. graphs: of encodes they keep the memory of the largest one; those of decoders are part of each prompt's.
    Raises NotEnough where weights, kept images and a single image or prompt do not fit.
    """
    of = FOOTPRINTS[model.removesuffix("-random")]
    factor = 2 if exact else 1
    tracks = video and role == "decoder"
    weights = factor * (of.encoder if role == "encoder" else of.decoder + (of.video if tracks else 0))
    each = factor * (of.image if role == "encoder" else of.prompt)
    room = int(card * min(share, 1.0)) - CONTEXT - weights
    if role == "encoder":
        for_work = room
    else:
        states = int((hot or 0) * TRACKS_SHARE) if tracks else 0
        for_work = int(room * WORK_SHARE) if hot is None else room - hot - states
        batch = min(batch, PASS_PROMPTS)
    graphed = min(batch, GRAPHED_IMAGES) if role == "encoder" and graphs == "all" else 0
    fitting = min(batch, for_work // each - graphed)
    if role == "decoder" and fitting > 0:
        fitting = 1 << (fitting.bit_length() - 1)  # a pass may be filled up to the next power of two
    if fitting < 1:
        needed = CONTEXT + weights + (1 + graphed) * each + (hot or 0)
        raise NotEnough(
            f"{share:g} of a GPU with {card / GB:.3g} GB is too little for a {role} of {model}, which takes "
            f"{needed / GB:.3g} GB at least: raise SAM3_{role.upper()}_NUM_GPUS"
            + (" or lower SAM3_HOT_BYTES" if hot else "")
        )
    work = (fitting + graphed) * each
    if role == "encoder":
        return MemoryPlan(weights, work, 0, fitting)
    if hot is not None:
        return MemoryPlan(weights, work, hot, fitting, states)
    spare = int((room - work) * HOT_SHARE)
    states = int(spare * TRACKS_SHARE) if tracks else 0
    return MemoryPlan(weights, work, spare - states, fitting, states)
