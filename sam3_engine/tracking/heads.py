"""The tracker's networks on a batch of objects, one row for each: memories in, masks and new memories out.

The package's `Sam3TrackerBase` has these as methods; those that name CUDA are written anew here. No row depends on
another.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from sam3.model.sam3_image import Sam3Image
from sam3.model.sam3_tracker_utils import get_1d_sine_pe

from sam3_engine.features import Pyramid
from sam3_engine.tracking.state import MEMORY_DTYPE, POINTERS, Memory
from sam3_engine.visual import Clicks


@dataclass(frozen=True, slots=True)
class Heads:
    """The answers for B objects.

    logits: float32 [B, 4g, 4g], far below zero everywhere for an object that is not in the frame; quality: [B],
    predicted IoU; presence: [B], logits that the object is in the frame; memories: bfloat16 [B, d/4, g, g]; pointers:
    float32 [B, d].
    """

    logits: torch.Tensor
    quality: torch.Tensor
    presence: torch.Tensor
    memories: torch.Tensor
    pointers: torch.Tensor


class TrackerHeads:
    """The tracker of a model that was built for video."""

    def __init__(self, model: Sam3Image) -> None:
        self._tracker = model.inst_interactive_predictor.model
        self._position = model.backbone.vision_backbone.position_encoding

    def track(
        self,
        pyramid: Pyramid,
        memories: Sequence[Sequence[tuple[int, Memory]]],
        pointers: Sequence[Sequence[tuple[int, Memory]]],
    ) -> Heads:
        """Find B objects in their frames. pyramid: of each object's frame. memories, pointers: of `state.attended`,
        equally many for each object."""
        raw = self._raw(pyramid[2])
        remembered, places, pointing = self._remembered(memories, pointers)
        sequence = raw.flatten(2).permute(2, 0, 1)
        position = self._position(raw).to(raw.dtype).flatten(2).permute(2, 0, 1)
        found = self._tracker.transformer.encoder(
            src=[sequence],
            src_key_padding_mask=[None],
            src_pos=[position],
            prompt=remembered,
            prompt_pos=places,
            feat_sizes=[raw.shape[-2:]],
            num_obj_ptr_tokens=pointing,
        )["memory"]
        fused = found.permute(1, 2, 0).reshape(raw.shape)
        outputs = self._tracker._forward_sam_heads(
            backbone_features=fused, high_res_features=list(pyramid[:2]), multimask_output=True
        )
        return self._answer(raw, outputs, prompted=False)

    def click(self, pyramid: Pyramid, clicks: Clicks, count: int) -> Heads:
        """Segment B objects by clicks, without memories. count: points of each."""
        outputs = self._tracker._forward_sam_heads(
            backbone_features=pyramid[2],
            point_inputs={"point_coords": clicks.points, "point_labels": clicks.labels},
            mask_inputs=clicks.previous,
            high_res_features=list(pyramid[:2]),
            multimask_output=count <= 1,
        )
        return self._answer(self._raw(pyramid[2]), outputs, prompted=True)

    def take(self, pyramid: Pyramid, masks: torch.Tensor) -> Heads:
        """Remember B objects by their masks, bool [B, 16g, 16g]."""
        raw = self._raw(pyramid[2])
        outputs = self._tracker._use_mask_as_output(raw, list(pyramid[:2]), masks.unsqueeze(1).float())
        heads = self._answer(raw, outputs, prompted=True)
        side = 4 * pyramid[2].shape[-1]
        logits = F.interpolate(outputs[4], (side, side), mode="bilinear", align_corners=False, antialias=True)
        return Heads(logits[:, 0], heads.quality, heads.presence, heads.memories, heads.pointers)

    def remember(self, coarse: torch.Tensor, logits: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
        """Memories of B tracked masks, bfloat16 [B, d/4, g, g].

        coarse: the coarsest features of each frame; logits: [B, 4g, 4g]; there: bool [B], whether the object is in the
        frame.
        """
        raw, side = self._raw(coarse), self._tracker.image_size
        memories, _ = self._tracker._encode_new_memory(
            image=None,
            current_vision_feats=[raw.flatten(2).permute(2, 0, 1)],
            feat_sizes=[raw.shape[-2:]],
            pred_masks_high_res=F.interpolate(
                logits[:, None], (side, side), mode="bilinear", align_corners=False
            ),
            object_score_logits=torch.where(there, 1.0, -1.0)[:, None],
            is_mask_from_pts=False,
        )
        encoded: torch.Tensor = memories.to(MEMORY_DTYPE)
        return encoded

    def _raw(self, coarse: torch.Tensor) -> torch.Tensor:
        """The coarsest features without what an encoder adds for images that have no memories."""
        return coarse - self._tracker.no_mem_embed.view(1, -1, 1, 1).to(coarse.dtype)

    def _remembered(
        self,
        memories: Sequence[Sequence[tuple[int, Memory]]],
        pointers: Sequence[Sequence[tuple[int, Memory]]],
    ) -> tuple[torch.Tensor, torch.Tensor, int]:
        """Keys' values [L, B, d/4], their positions in space and time, and how many of the last are pointers."""
        tracker, objects = self._tracker, len(memories)
        table = tracker.maskmem_tpos_enc.flatten(1)
        features = torch.stack([_features(memory) for row in memories for _, memory in row])
        space = tracker.maskmem_backbone.position_encoding(features[:1]).flatten(2).permute(2, 0, 1)
        rows = torch.tensor([[place for place, _ in row] for row in memories], device=table.device)
        time = table[rows].transpose(0, 1).unsqueeze(1)  # [K, 1, B, m]
        values = features.unflatten(0, (objects, -1)).flatten(3).permute(1, 3, 0, 2).flatten(0, 1)
        places = (space + time).flatten(0, 1)

        vectors = torch.stack([memory.pointer for row in pointers for _, memory in row])
        vectors = vectors.unflatten(0, (objects, -1)).transpose(0, 1)  # [P, B, d]
        since = torch.tensor([[since for since, _ in row] for row in pointers], device=table.device)
        ages = get_1d_sine_pe(since.T / POINTERS, dim=tracker.hidden_dim)
        ages = tracker.obj_ptr_tpos_proj(ages)
        tokens = tracker.hidden_dim // tracker.mem_dim
        # A pointer is wider than a memory: it becomes several tokens.
        vectors = vectors.unflatten(2, (tokens, -1)).transpose(1, 2).flatten(0, 1)
        ages = ages.repeat_interleave(tokens, dim=0)
        return torch.cat([values, vectors]), torch.cat([places, ages]), len(vectors)

    def _answer(self, raw: torch.Tensor, outputs: tuple[torch.Tensor, ...], *, prompted: bool) -> Heads:
        _, _, qualities, low, high, pointers, presence = outputs
        memories, _ = self._tracker._encode_new_memory(
            image=None,
            current_vision_feats=[raw.flatten(2).permute(2, 0, 1)],
            feat_sizes=[raw.shape[-2:]],
            pred_masks_high_res=high,
            object_score_logits=presence,
            is_mask_from_pts=prompted,
        )
        return Heads(
            low[:, 0],
            qualities.float().max(dim=1).values,
            presence[:, 0].float(),
            memories.to(MEMORY_DTYPE),
            pointers.float(),
        )


def _features(memory: Memory) -> torch.Tensor:
    assert memory.features is not None
    return memory.features
