"""Promptable concept segmentation as pure functions: image features and prompts in, scores, boxes and masks out.

The steps are those of `Sam3Image.forward_grounding`, with two differences. The mask head runs after the scores, and
only for the prompts and queries that passed the threshold, so an absent concept costs no mask. Nothing reads a value
from the device on the way, so the device never waits for the host.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sam3.model.box_ops import box_cxcywh_to_xyxy
from sam3.model.model_misc import inverse_sigmoid
from sam3.model.sam3_image import Sam3Image

from sam3_engine.coordinates import normalised
from sam3_engine.features import Pyramid
from sam3_engine.fusion import FusedImages, fuse, geometry
from sam3_engine.types import ConceptPrompt, ImageSize
from sam3_engine.upload import upload


@dataclass(frozen=True, slots=True)
class TextFeatures:
    """Features of N phrases. tokens: [L, N, d_model]; padding: bool [N, L], True where there is no token."""

    tokens: torch.Tensor
    padding: torch.Tensor

    def of(self, text_ids: torch.Tensor) -> "TextFeatures":
        """One column per prompt; text_ids: long [P], each prompt's phrase."""
        return TextFeatures(self.tokens[:, text_ids], self.padding[text_ids])


@dataclass(frozen=True, slots=True)
class Exemplars:
    """Example boxes of P prompts, at most K each. boxes: [K, P, 4] normalised (cx, cy, w, h);
    labels: long [K, P], 1 for "like this", 0 for "unlike this"; padding: bool [P, K], True where there is no box."""

    boxes: torch.Tensor
    labels: torch.Tensor
    padding: torch.Tensor


@dataclass(frozen=True, slots=True)
class Grounding:
    """The decoder's output for P prompts with Q queries each, over D layers (the last one is the answer; D may be 1).

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
    prompts: Sequence[ConceptPrompt],
    sizes: Sequence[ImageSize],
    device: torch.device,
    longest: int | None = None,
) -> Exemplars:
    """The prompts' boxes, normalised by their image's size and padded to `longest`, or else to the prompt with the
    most boxes."""
    if longest is None:
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
    return Exemplars(upload(boxes, device), upload(labels, device), upload(padding, device))


def ground(
    model: Sam3Image,
    images: FusedImages,
    text: TextFeatures,
    boxes: Exemplars | None,
    *,
    every_layer: bool = False,
) -> Grounding:
    """Find the instances of P prompts. Reads no value back to the host, so that a CUDA graph can hold it.

    images: one row per prompt, or one image for all prompts. text: one column per prompt. boxes: None where no prompt
    has any. every_layer: answer for all of the decoder's layers, as training needs it, and not for the last alone.
    """
    if boxes is None:
        seen = images.no_boxes.expand(-1, text.tokens.shape[1], -1)
        unseen = text.padding.new_zeros(text.tokens.shape[1], 1)
    else:
        tokens = images.tokens.expand(-1, text.tokens.shape[1], -1)
        seen, unseen = geometry(model, tokens, images.position, boxes.boxes, boxes.labels, boxes.padding)
    prompt = torch.cat([text.tokens, seen])
    padding = torch.cat([text.padding, unseen], dim=1)
    hidden = fuse(model, images, prompt, padding)
    return _decode(model, hidden, images.position.transpose(0, 1), prompt, padding, every_layer)


def _decode(
    model: Sam3Image,
    hidden: torch.Tensor,
    position: torch.Tensor,
    prompt: torch.Tensor,
    padding: torch.Tensor,
    every_layer: bool,
) -> Grounding:
    decoder = model.transformer.decoder
    side = round(hidden.shape[0] ** 0.5)
    states, references, presence, _ = decoder(
        tgt=decoder.query_embed.weight.unsqueeze(1).expand(-1, hidden.shape[1], -1),
        memory=hidden,
        pos=position,
        # In float32 whatever the weights are: bfloat16 tells boxes apart by four pixels of a thousand.
        reference_boxes=decoder.reference_points.weight.float()
        .sigmoid()
        .unsqueeze(1)
        .expand(-1, hidden.shape[1], -1),
        spatial_shapes=np.array([[side, side]]),
        valid_ratios=hidden.new_ones(hidden.shape[1], 1, 2, dtype=torch.float32),
        memory_text=prompt,
        text_attention_mask=padding,
        apply_dac=False,
    )
    answered = slice(None) if every_layer else slice(-1, None)
    states, references = states[answered].transpose(1, 2), references[answered].transpose(1, 2)
    logits = model.dot_prod_scoring(states, prompt, padding).squeeze(-1)
    centred = (inverse_sigmoid(references) + decoder.bbox_embed(states)).sigmoid()
    return Grounding(
        logits=logits,
        boxes=box_cxcywh_to_xyxy(centred),
        presence=presence[answered].squeeze(1),
        queries=states[-1],
        hidden=hidden,
        prompt=prompt,
        prompt_padding=padding,
    )


def pixel_planes(
    model: Sam3Image,
    fine: torch.Tensor,
    middle: torch.Tensor,
    hidden: torch.Tensor,
    prompt: torch.Tensor,
    padding: torch.Tensor,
) -> torch.Tensor:
    """The maps [P, d, 4g, 4g] whose products with a query's embedding are mask logits.

    fine, middle: the PCS pyramid's larger maps, one row per prompt, or one for all. The others as in `Grounding`.
    """
    head = model.segmentation_head
    attended = head.cross_attend_prompt(
        query=head.cross_attn_norm(hidden), key=prompt, value=prompt, key_padding_mask=padding
    )[0]
    side = middle.shape[-1] // 2
    coarse = (hidden + attended).permute(1, 2, 0).unflatten(2, (side, side))
    return head.instance_seg_head(head.pixel_decoder([fine, middle, coarse]))


def masks_of(
    model: Sam3Image, planes: torch.Tensor, queries: torch.Tensor, counts: Sequence[int]
) -> torch.Tensor:
    """Mask logits [N, 4g, 4g] of N queries [N, d]: the first counts[0] are of the first plane, and so on."""
    embedded = model.segmentation_head.mask_predictor.mask_embed(queries)
    per_plane = [
        torch.einsum("qc,chw->qhw", rows, plane)
        for rows, plane in zip(embedded.split(list(counts)), planes, strict=False)
    ]
    return torch.cat(per_plane)


def mask_logits(
    model: Sam3Image,
    pyramid: Pyramid,
    image_ids: torch.Tensor,
    found: Grounding,
    prompt_ids: torch.Tensor,
    query_ids: torch.Tensor,
) -> torch.Tensor:
    """Mask logits [N, 4g, 4g] of N chosen queries; the pixel decoder runs once per distinct prompt.

    image_ids: long [P], each prompt's image; prompt_ids, query_ids: long [N]; prompt_ids ascending.
    """
    distinct, counts = torch.unique_consecutive(prompt_ids, return_counts=True)
    fine, middle, _ = (level[image_ids[distinct]] for level in pyramid)
    planes = pixel_planes(
        model,
        fine,
        middle,
        found.hidden[:, distinct],
        found.prompt[:, distinct],
        found.prompt_padding[distinct],
    )
    return masks_of(model, planes, found.queries[prompt_ids, query_ids], counts.tolist())
