"""The tracker's networks on a batch of objects, one row for each: memories in, masks and new memories out.

The package's `Sam3TrackerBase` has these as methods; those that name CUDA are written anew here. No row depends on
another.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from sam3.model.sam3_image import Sam3Image
from sam3.model.sam3_tracker_base import NO_OBJ_SCORE
from sam3.model.sam3_tracker_utils import get_1d_sine_pe

from sam3_engine.features import Pyramid
from sam3_engine.tracking.memory_attention import attend, spread
from sam3_engine.tracking.state import MEMORY_DTYPE, POINTERS, Memory
from sam3_engine.upload import upload
from sam3_engine.visual import PADDING, Clicks


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
        rows: torch.Tensor | None = None,
    ) -> Heads:
        """Find B objects in U frames. pyramid: of the frames. memories, pointers: of `state.attended`, equally many for
        each object. rows: each object's frame, [B]; without, there is one frame, or one for each object."""
        raw, count = self._raw(pyramid[2]), len(memories)
        remembered, places, turned = self._remembered(memories, pointers)
        found = attend(
            self._tracker.transformer.encoder,
            _as_rows(raw),
            _as_rows(self._position(raw[:1]).to(raw.dtype)),
            rows,
            remembered,
            places,
            turned,
        )
        fine, middle, raw = (spread(level, rows, count) for level in (*pyramid[:2], raw))
        fused = found.transpose(1, 2).unflatten(2, raw.shape[-2:])
        nowhere = Clicks(
            torch.zeros(count, 1, 2, device=raw.device),
            torch.full((count, 1), PADDING, dtype=torch.int32, device=raw.device),
            None,
        )
        return self._segment(raw, (fine, middle, fused), nowhere, multimask=True, prompted=False)

    def click(self, pyramid: Pyramid, clicks: Clicks, count: int) -> Heads:
        """Segment B objects by clicks, without memories. count: points of each."""
        return self._segment(self._raw(pyramid[2]), pyramid, clicks, multimask=count <= 1, prompted=True)

    def take(self, pyramid: Pyramid, masks: torch.Tensor) -> Heads:
        """Remember B objects by their masks, bool [B, 16g, 16g]."""
        raw = self._raw(pyramid[2])
        _, _, quality, logits, high, pointers, presence = self._tracker._use_mask_as_output(
            raw, list(pyramid[:2]), masks.unsqueeze(1).float()
        )
        side = 4 * pyramid[2].shape[-1]
        logits = F.interpolate(logits, (side, side), mode="bilinear", align_corners=False, antialias=True)
        memories = self._encode(raw, high, presence, prompted=True)
        return Heads(logits[:, 0], quality.float()[:, 0], presence[:, 0].float(), memories, pointers.float())

    def _segment(
        self,
        raw: torch.Tensor,
        pyramid: Pyramid,
        clicks: Clicks,
        *,
        multimask: bool,
        prompted: bool,
    ) -> Heads:
        """The best mask of each object. This is the package's `_forward_sam_heads`, which enlarges all proposals to the
        size of the frame and then takes one."""
        tracker = self._tracker
        sparse, dense = tracker.sam_prompt_encoder(
            points=(clicks.points, clicks.labels), boxes=None, masks=clicks.previous
        )
        proposals, qualities, tokens, presence = tracker.sam_mask_decoder(
            image_embeddings=pyramid[2],
            image_pe=tracker.sam_prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask,
            repeat_image=False,
            high_res_features=list(pyramid[:2]),
        )
        quality, best = qualities.float().max(dim=1)
        each = torch.arange(len(best), device=best.device)
        there = presence > 0
        logits = torch.where(there[..., None], proposals[each, best].float(), NO_OBJ_SCORE)
        side = tracker.image_size
        high = F.interpolate(logits[:, None], (side, side), mode="bilinear", align_corners=False)
        pointers = torch.where(there, tracker.obj_ptr_proj(tokens[each, best]).float(), tracker.no_obj_ptr)
        memories = self._encode(raw, high, presence, prompted=prompted)
        return Heads(logits, quality, presence[:, 0].float(), memories, pointers)

    def _encode(
        self, raw: torch.Tensor, masks: torch.Tensor, presence: torch.Tensor, *, prompted: bool
    ) -> torch.Tensor:
        """Memories of masks, logits [B, 1, S, S]."""
        memories, _ = self._tracker._encode_new_memory(
            image=None,
            current_vision_feats=[raw.flatten(2).permute(2, 0, 1)],
            feat_sizes=[raw.shape[-2:]],
            pred_masks_high_res=masks,
            object_score_logits=presence,
            is_mask_from_pts=prompted,
        )
        encoded: torch.Tensor = memories.to(MEMORY_DTYPE)
        return encoded

    def remember(self, coarse: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
        """Memories of B tracked masks of objects in the frame, bfloat16 [B, d/4, g, g].

        coarse: the coarsest features of each frame; logits: [B, 4g, 4g].
        """
        side = self._tracker.image_size
        high = F.interpolate(logits[:, None], (side, side), mode="bilinear", align_corners=False)
        there = torch.ones(len(logits), 1, device=logits.device)
        return self._encode(self._raw(coarse), high, there, prompted=False)

    def _raw(self, coarse: torch.Tensor) -> torch.Tensor:
        """The coarsest features without what an encoder adds for images that have no memories."""
        return coarse - self._tracker.no_mem_embed.view(1, -1, 1, 1).to(coarse.dtype)

    def _remembered(
        self,
        memories: Sequence[Sequence[tuple[int, Memory]]],
        pointers: Sequence[Sequence[tuple[int, Memory]]],
    ) -> tuple[torch.Tensor, torch.Tensor, int]:
        """Values [B, L, d/4], their positions in space and time, and how many of the first are not pointers."""
        tracker, objects = self._tracker, len(memories)
        table = tracker.maskmem_tpos_enc.flatten(1)
        features = torch.stack([_features(memory) for row in memories for _, memory in row])
        space = _as_rows(tracker.maskmem_backbone.position_encoding(features[:1]))
        rows = upload(torch.tensor([[place for place, _ in row] for row in memories]), table.device)
        places = (space[:, None] + table[rows][:, :, None]).flatten(1, 2)  # [B, K * N, m]
        values = _as_rows(features).float().unflatten(0, (objects, -1)).flatten(1, 2)

        vectors = torch.stack([memory.pointer for row in pointers for _, memory in row])
        since = upload(torch.tensor([[since for since, _ in row] for row in pointers]), table.device)
        ages = tracker.obj_ptr_tpos_proj(get_1d_sine_pe(since / POINTERS, dim=tracker.hidden_dim))
        # A pointer is wider than a memory: it becomes several tokens.
        tokens = tracker.hidden_dim // tracker.mem_dim
        ages = ages.repeat_interleave(tokens, dim=1)
        vectors = vectors.reshape(objects, -1, tracker.mem_dim)
        return torch.cat([values, vectors], 1), torch.cat([places, ages], 1), values.shape[1]


def _as_rows(maps: torch.Tensor) -> torch.Tensor:
    """Maps [B, C, h, w] as [B, h * w, C]."""
    return maps.flatten(2).transpose(1, 2)


def _features(memory: Memory) -> torch.Tensor:
    assert memory.features is not None
    return memory.features
