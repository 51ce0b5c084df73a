"""The model with what only training needs, as it begins."""

import math
from typing import Any

import torch
from torch import nn

from sam3_engine.assembly import build_model
from sam3_engine.bundled import load_bundled
from sam3_engine.roles import MASK_DECODER, OF_THE_CLICKS_MAPS, TRACKER, VIDEO_ONLY
from sam3_engine.spec import TINY
from sam3_engine.weights import apply
from training.dense import DenseHead
from training.tokens import compact_tokens

PRESENCE_OF_TRACKED = f"{MASK_DECODER}.pred_obj_score_head"
"""Tells whether an object is in the frame; no answer to an image depends on it."""
VIDEO = tuple(f"model.{part}" for part in (*VIDEO_ONLY, PRESENCE_OF_TRACKED))
CLICKS = tuple(f"model.{part}." for part in (MASK_DECODER, f"{TRACKER}.sam_prompt_encoder"))
NOT_OF_CLICKS = (*VIDEO, *(f"model.{MASK_DECODER}.{part}" for part in OF_THE_CLICKS_MAPS))
"""Of these: what follows objects in videos, and the parts of the mask decoder that an encoder runs."""


class Trainee(nn.Module):
    """The model with its training-only parts. bundled: begin with the bundled weights, not with random ones."""

    def __init__(self, seed: int, *, bundled: bool = False) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.model = build_model(TINY, video=True)
        if bundled:
            apply(self.model, load_bundled())
        compact_tokens(self.model, keep=bundled)
        self.dense = DenseHead(TINY.vit_dim, TINY.d_model)
        if not bundled:
            spread_reference_points(self.model)
            attend_by_place(self.model)
        self.model.inst_interactive_predictor.model.sam_mask_decoder.train()

    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters that images use, by name. Parameters for video are not trained."""
        return {name: one for name, one in self.named_parameters() if not name.startswith(VIDEO)}

    def of_clicks(self) -> dict[str, nn.Parameter]:
        """The parameters that clicks and boxes alone use, by name. No embedding depends on them; the tracker
        makes its masks by them too."""
        return {
            name: one
            for name, one in self.named_parameters()
            if name.startswith(CLICKS) and not name.startswith(NOT_OF_CLICKS)
        }


def spread_reference_points(model: Any) -> None:
    """Initialise the decoder's reference boxes as a grid over the image: the model learns to localise much faster."""
    side = math.isqrt(TINY.queries)
    places = (torch.arange(side) + 0.5) / side
    y, x = torch.meshgrid(places, places, indexing="ij")
    boxes = torch.stack(
        [x.flatten(), y.flatten(), torch.full((side * side,), 0.22), torch.full((side * side,), 0.22)], 1
    )
    with torch.no_grad():
        model.transformer.decoder.reference_points.weight.copy_(torch.logit(boxes))


def attend_by_place(model: Any) -> None:
    """Initialise the click decoder's cross-attention so that it attends to the click's position.

    Queries and keys get the same projection, so that equal position encodings match. Otherwise the model ignores clicks
    for thousands of steps.
    """
    transformer = model.inst_interactive_predictor.model.sam_mask_decoder.transformer
    crossings = [transformer.final_attn_token_to_image]
    for layer in transformer.layers:
        crossings += [layer.cross_attn_token_to_image, layer.cross_attn_image_to_token]
    with torch.no_grad():
        for attention in crossings:
            nn.init.orthogonal_(attention.q_proj.weight)
            attention.k_proj.weight.copy_(attention.q_proj.weight)
            attention.q_proj.bias.zero_()
            attention.k_proj.bias.zero_()
