"""The fusion encoder: image tokens attend to themselves and to a prompt, layer by layer.

Two parts do not depend on the prompt: the first layer's self-attention, and the geometry encoder's token for a prompt
without boxes. Both are computed once an image. The package computes them for each prompt.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from sam3.model.encoder import TransformerEncoderLayer
from sam3.model.geometry_encoders import Prompt
from sam3.model.sam3_image import Sam3Image


@dataclass(frozen=True, slots=True)
class FusedImages:
    """The fusion encoder's input from B images. B = 1 stands for one image that all prompts share.

    tokens: [g*g, B, d], the coarsest map of the PCS pyramid; position: [1, g*g, d], its position encoding;
    attended: [B, g*g, d], the tokens behind the first layer's self-attention; no_boxes: [1, B, d], the geometry
    encoder's token for a prompt without boxes.
    """

    tokens: torch.Tensor
    position: torch.Tensor
    attended: torch.Tensor
    no_boxes: torch.Tensor

    def of(self, image_ids: torch.Tensor) -> "FusedImages":
        """One row per prompt; image_ids: long [P], each prompt's image."""
        return FusedImages(
            self.tokens[:, image_ids], self.position, self.attended[image_ids], self.no_boxes[:, image_ids]
        )

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors kept beside the pyramid: `tokens` is a view into it."""
        return self.position.nbytes + self.attended.nbytes + self.no_boxes.nbytes


def join(images: Sequence[FusedImages]) -> FusedImages:
    """The images of P prompts, B = 1 each: one row per prompt, or the image itself where all prompts share it."""
    first = images[0]
    if all(one is first for one in images):
        return first
    return FusedImages(
        torch.cat([one.tokens for one in images], dim=1),
        first.position,
        torch.cat([one.attended for one in images]),
        torch.cat([one.no_boxes for one in images], dim=1),
    )


def fuse_images(model: Sam3Image, coarse: torch.Tensor) -> FusedImages:
    """All that no prompt changes, of the PCS pyramid's coarsest maps [B, d, g, g]."""
    position = model.backbone.vision_backbone.position_encoding(coarse[:1]).to(coarse.dtype)
    position = position.flatten(2).transpose(1, 2)
    tokens = coarse.flatten(2).permute(2, 0, 1)
    layer = model.transformer.encoder.layers[0]
    by_image = tokens.transpose(0, 1)
    normed = layer.norm1(by_image)
    query = normed + position
    attended = by_image + layer.dropout1(layer.self_attn(query, query, value=normed)[0])
    none = coarse.new_zeros(0, len(coarse), 4)
    no_boxes, _ = geometry(
        model, tokens, position, none, none[..., 0].long(), none[..., 0].transpose(0, 1).bool()
    )
    return FusedImages(tokens, position, attended, no_boxes)


def geometry(
    model: Sam3Image,
    tokens: torch.Tensor,
    position: torch.Tensor,
    boxes: torch.Tensor,
    labels: torch.Tensor,
    padding: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens of P prompts' boxes [K + 1, P, d], and which of them are padding [P, K + 1].

    tokens: [g*g, P, d]; boxes, labels and padding as in `concept.Exemplars`.
    """
    side = round(tokens.shape[0] ** 0.5)
    return model.geometry_encoder(
        geo_prompt=Prompt(box_embeddings=boxes, box_mask=padding, box_labels=labels),
        img_feats=[tokens],
        img_sizes=[(side, side)],
        img_pos_embeds=[position.transpose(0, 1)],
    )


def fuse(model: Sam3Image, images: FusedImages, prompt: torch.Tensor, padding: torch.Tensor) -> torch.Tensor:
    """Image tokens that have attended to P prompts [S, P, d], of which `padding` [P, S] does not count: [g*g, P, d]."""
    first, *others = model.transformer.encoder.layers
    memory = prompt.transpose(0, 1)
    tokens = _after_self_attention(first, images.attended.expand(len(memory), -1, -1), memory, padding)
    for layer in others:
        tokens = layer(tokens, memory, memory_key_padding_mask=padding, query_pos=images.position)
    return tokens.transpose(0, 1)


def _after_self_attention(
    layer: TransformerEncoderLayer, tokens: torch.Tensor, prompt: torch.Tensor, padding: torch.Tensor
) -> torch.Tensor:
    """The rest of a fusion layer, which normalises before it attends: attention to the prompt, then the MLP."""
    found = layer.cross_attn_image(layer.norm2(tokens), prompt, prompt, key_padding_mask=padding)[0]
    tokens = tokens + layer.dropout2(found)
    hidden = layer.dropout(layer.activation(layer.linear1(layer.norm3(tokens))))
    return tokens + layer.dropout3(layer.linear2(hidden))
