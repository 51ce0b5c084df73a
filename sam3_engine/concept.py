"""Promptable concept segmentation as pure functions: image features and prompts in, scores, boxes and masks out.

The steps are those of `Sam3Image.forward_grounding`, with one difference: the mask head runs after the scores, and
only for the prompts and queries that passed the threshold, so an absent concept costs no mask.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sam3.model.box_ops import box_cxcywh_to_xyxy
from sam3.model.data_misc import FindStage
from sam3.model.geometry_encoders import Prompt
from sam3.model.model_misc import inverse_sigmoid
from sam3.model.sam3_image import Sam3Image

from sam3_engine.coordinates import normalised
from sam3_engine.features import Pyramid
from sam3_engine.types import ConceptPrompt, ImageSize


@dataclass(frozen=True, slots=True)
class TextFeatures:
    """Features of N phrases. tokens: [L, N, d_model]; padding: bool [N, L], True where there is no token."""

    tokens: torch.Tensor
    padding: torch.Tensor


@dataclass(frozen=True, slots=True)
class Exemplars:
    """Example boxes of P prompts, at most K each. boxes: [K, P, 4] normalised (cx, cy, w, h);
    labels: long [K, P], 1 for "like this", 0 for "unlike this"; padding: bool [P, K], True where there is no box."""

    boxes: torch.Tensor
    labels: torch.Tensor
    padding: torch.Tensor


@dataclass(frozen=True, slots=True)
class Grounding:
    """The decoder's output for P prompts with Q queries each, over D layers (the last one is the answer).

    logits: [D, P, Q]; boxes: [D, P, Q, 4] normalised (x0, y0, x1, y1); presence: [D, P]; queries: [P, Q, C] of the
    last layer. hidden, prompt and prompt_padding are inputs of the mask head.
    """

    logits: torch.Tensor
    boxes: torch.Tensor
    presence: torch.Tensor
    queries: torch.Tensor
    hidden: torch.Tensor
    prompt: torch.Tensor
    prompt_padding: torch.Tensor

    @property
    def scores(self) -> torch.Tensor:
        """Probability of each query of the last layer, [P, Q]: its own, times that of the concept's presence."""
        return self.logits[-1].sigmoid() * self.presence[-1].sigmoid().unsqueeze(-1)


def encode_text(model: Sam3Image, phrases: Sequence[str]) -> TextFeatures:
    """Features of N phrases; they depend on no image."""
    device = model.device
    out = model.backbone.forward_text(list(phrases), device=device)
    return TextFeatures(out["language_features"], out["language_mask"])


def exemplars(
    prompts: Sequence[ConceptPrompt], sizes: Sequence[ImageSize], device: torch.device
) -> Exemplars:
    """The prompts' boxes, normalised by their image's size and padded to the prompt with the most boxes."""
    longest = max((len(prompt.boxes) for prompt in prompts), default=0)
    boxes = torch.zeros(longest, len(prompts), 4)
    labels = torch.zeros(longest, len(prompts), dtype=torch.long)
    padding = torch.ones(len(prompts), longest, dtype=torch.bool)
    for column, (prompt, size) in enumerate(zip(prompts, sizes, strict=True)):
        for row, (box, label) in enumerate(zip(prompt.boxes, prompt.box_labels, strict=True)):
            (x0, y0), (x1, y1) = normalised(np.array(box).reshape(2, 2), size)
            boxes[row, column] = torch.tensor([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0])
            labels[row, column] = int(label)
            padding[column, row] = False
    return Exemplars(boxes.to(device), labels.to(device), padding.to(device))


def ground(
    model: Sam3Image,
    pyramid: Pyramid,
    image_ids: torch.Tensor,
    text: TextFeatures,
    text_ids: torch.Tensor,
    boxes: Exemplars,
) -> Grounding:
    """Find the instances of P prompts in B images.

    image_ids, text_ids: long [P], each prompt's index into the images of `pyramid` and the phrases of `text`.
    """
    stage = FindStage(
        img_ids=image_ids,
        text_ids=text_ids,
        input_boxes=None,
        input_boxes_mask=None,
        input_boxes_label=None,
        input_points=None,
        input_points_mask=None,
    )
    position = model.backbone.vision_backbone.position_encoding
    backbone = {
        "backbone_fpn": list(pyramid),
        "vision_pos_enc": [position(level).to(level.dtype) for level in pyramid],
        "language_features": text.tokens,
        "language_mask": text.padding,
    }
    geometry = Prompt(box_embeddings=boxes.boxes, box_mask=boxes.padding, box_labels=boxes.labels)
    prompt, padding, backbone = model._encode_prompt(backbone, stage, geometry)
    backbone, encoded, _ = model._run_encoder(backbone, stage, prompt, padding)
    return _decode(model, encoded, prompt, padding)


def _decode(
    model: Sam3Image, encoded: dict[str, torch.Tensor], prompt: torch.Tensor, padding: torch.Tensor
) -> Grounding:
    hidden = encoded["encoder_hidden_states"]
    decoder = model.transformer.decoder
    queries = decoder.query_embed.weight.unsqueeze(1).repeat(1, hidden.shape[1], 1)
    states, references, presence, _ = decoder(
        tgt=queries,
        memory=hidden,
        memory_key_padding_mask=encoded["padding_mask"],
        pos=encoded["pos_embed"],
        reference_boxes=None,
        level_start_index=encoded["level_start_index"],
        spatial_shapes=encoded["spatial_shapes"],
        valid_ratios=encoded["valid_ratios"],
        tgt_mask=None,
        memory_text=prompt,
        text_attention_mask=padding,
        apply_dac=False,
    )
    states, references = states.transpose(1, 2), references.transpose(1, 2)
    logits = model.dot_prod_scoring(states, prompt, padding).squeeze(-1)
    centred = (inverse_sigmoid(references) + decoder.bbox_embed(states)).sigmoid()
    return Grounding(
        logits=logits,
        boxes=box_cxcywh_to_xyxy(centred),
        presence=presence.squeeze(1),
        queries=states[-1],
        hidden=hidden,
        prompt=prompt,
        prompt_padding=padding,
    )


def mask_logits(
    model: Sam3Image,
    pyramid: Pyramid,
    image_ids: torch.Tensor,
    found: Grounding,
    prompt_ids: torch.Tensor,
    query_ids: torch.Tensor,
) -> torch.Tensor:
    """Mask logits [N, 4g, 4g] of N chosen queries; the pixel decoder runs once per distinct prompt.

    prompt_ids, query_ids: long [N]; prompt_ids ascending.
    """
    if len(prompt_ids) == 0:
        side = pyramid[0].shape[-1]
        return found.hidden.new_zeros(0, side, side)
    head = model.segmentation_head
    distinct, counts = torch.unique_consecutive(prompt_ids, return_counts=True)
    hidden, prompt = found.hidden[:, distinct], found.prompt[:, distinct]
    attended = head.cross_attend_prompt(
        query=head.cross_attn_norm(hidden),
        key=prompt,
        value=prompt,
        key_padding_mask=found.prompt_padding[distinct],
    )[0]
    pixels = head._embed_pixels(
        backbone_feats=list(pyramid), image_ids=image_ids[distinct], encoder_hidden_states=hidden + attended
    )
    planes = head.instance_seg_head(pixels)
    embedded = head.mask_predictor.mask_embed(found.queries[prompt_ids, query_ids])
    per_prompt = [
        torch.einsum("qc,chw->qhw", rows, plane)
        for rows, plane in zip(embedded.split(counts.tolist()), planes, strict=True)
    ]
    return torch.cat(per_prompt)
