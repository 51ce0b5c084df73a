"""What is trained so that `tiny` follows objects: the memory encoder, the memory attention, and who is in the frame.

Everything that answers images stays as it is, the mask decoder too: a clip is unrolled through the frozen model, and
the gradient goes through all its memories.
"""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from sam3.model.sam3_image import Sam3Image
from torch import nn

from sam3_engine.features import Pyramid, encode_images, normalise
from sam3_engine.roles import VIDEO_ONLY
from sam3_engine.spec import TINY
from sam3_engine.tracking.heads import Heads, TrackerHeads
from sam3_engine.tracking.looks import looks
from sam3_engine.tracking.state import Memory, TrackState, attended, followed, prompted
from sam3_engine.visual import Clicks
from training.losses import mask_iou, mask_losses
from training.moving import Clip
from training.trainee import PRESENCE_OF_TRACKED

TRAINED = (*VIDEO_ONLY, PRESENCE_OF_TRACKED)
"""No answer to an image depends on these."""
SMALLEST = 8
"""Pixels of an object from which it is asked for in the first frame."""
SURE = 10.0
"""The presence logit that the model is told while it is trained."""


def trained(model: nn.Module) -> list[nn.Parameter]:
    """The parameters to train; all others are frozen."""
    chosen = []
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(TRAINED))
        if parameter.requires_grad:
            chosen.append(parameter)
    return chosen


class Proposals:
    """Sees what the mask decoder proposes before absent objects are blanked, and tells it who is in the frame.

    Where the model guesses wrong, its mask would be lost: nothing would be learnt from the frame or its memory.
    """

    def __init__(self, model: Sam3Image) -> None:
        self.visible: torch.Tensor | None = None
        """bool [B]: the truth, for the next call."""
        self.logits, self.presence = torch.empty(0), torch.empty(0)
        """[B, M, 4g, 4g] and [B], of the last call."""
        decoder = model.inst_interactive_predictor.model.sam_mask_decoder
        self._hook = decoder.register_forward_hook(self._seen)

    def _seen(
        self, _module: nn.Module, _given: Any, outputs: tuple[torch.Tensor, ...]
    ) -> tuple[torch.Tensor, ...]:
        masks, quality, tokens, presence = outputs
        self.logits, self.presence = masks, presence[:, 0]
        if self.visible is None:
            return outputs
        told = torch.where(self.visible[:, None], SURE, -SURE).to(presence.dtype)
        return masks, quality, tokens, told

    def close(self) -> None:
        self._hook.remove()


@contextmanager
def proposals(model: Sam3Image) -> Iterator[Proposals]:
    """Watch a model's mask decoder until the end of the block."""
    seen = Proposals(model)
    try:
        yield seen
    finally:
        seen.close()


def clip_losses(
    model: Sam3Image, clips: Sequence[Clip], objects: int, rng: random.Random
) -> dict[str, torch.Tensor]:
    """Losses of following up to `objects` objects of each clip from a prompt in its first frame.

    "mask": of all proposals of frames in which the object is seen; "presence": whether it is in the frame; "iou": of
    the proposal that would be answered, a figure without a gradient.
    """
    heads = TrackerHeads(model)
    rows = [
        (clip, number)
        for clip in range(len(clips))
        for number in rng.sample(range(clips[clip].objects), min(objects, clips[clip].objects))
    ]
    pyramids = _encoded(model, clips)
    masks: list[torch.Tensor] = []
    presences: list[torch.Tensor] = []
    ious: list[torch.Tensor] = []
    with proposals(model) as seen:
        states: list[TrackState] = []
        for frame in range(len(clips[0].frames)):
            pyramid = _of(pyramids, frame, [clip for clip, _ in rows])
            truth = torch.from_numpy(
                np.stack([_coverage(clips[clip], frame, number) for clip, number in rows])
            )
            visible = torch.tensor(
                [bool(clips[clip].mask(frame, number).sum() >= SMALLEST) for clip, number in rows]
            )
            seen.visible = visible
            if frame == 0:
                found = _begin(heads, pyramid, clips, rows, rng)
                logits = found.logits.detach()
                states = [
                    prompted("training", TINY.memories, None, _memory(found, row, frame), logits[row], look)
                    for row, look in enumerate(looks(pyramid[2], logits))
                ]
                continue
            attends = [attended(state, frame) for state in states]
            found = heads.track(
                pyramid, [memories for memories, _ in attends], [pointers for _, pointers in attends]
            )
            states = [
                followed(state, _memory(found, row, frame), found.logits[row].detach())
                for row, state in enumerate(states)
            ]
            presences.append(
                F.binary_cross_entropy_with_logits(seen.presence, visible.float(), reduction="none")
            )
            if visible.any():
                proposed = seen.logits[visible].float()
                wanted = truth[visible][:, None].expand_as(proposed)
                masks.append(mask_losses(proposed.flatten(0, 1), wanted.flatten(0, 1)))
                ious.append(mask_iou(found.logits[visible].detach(), truth[visible]))
    return {
        "mask": torch.cat(masks).mean() if masks else torch.zeros(()),
        "presence": torch.cat(presences).mean(),
        "iou": torch.cat(ious).mean() if ious else torch.zeros(()),
    }


@torch.no_grad()
def _encoded(model: Sam3Image, clips: Sequence[Clip]) -> Pyramid:
    """The features of all frames, clip by clip."""
    frames = torch.from_numpy(np.concatenate([clip.frames for clip in clips]))
    fine, middle, coarse = encode_images(model, normalise(frames)).pvs
    return fine, middle, coarse


def _of(pyramids: Pyramid, frame: int, clips: Sequence[int]) -> Pyramid:
    length = len(pyramids[0]) // (max(clips) + 1) if clips else 0
    rows = torch.tensor([clip * length + frame for clip in clips])
    fine, middle, coarse = (level[rows] for level in pyramids)
    return fine, middle, coarse


def _begin(
    heads: TrackerHeads,
    pyramid: Pyramid,
    clips: Sequence[Clip],
    rows: Sequence[tuple[int, int]],
    rng: random.Random,
) -> Heads:
    """All objects by clicks, or all by their masks."""
    masks = [clips[clip].mask(0, number) for clip, number in rows]
    if rng.random() < 0.35:
        side = 4 * TINY.mask_size
        sized = [
            cv2.resize(mask.astype(np.uint8), (side, side), interpolation=cv2.INTER_NEAREST) for mask in masks
        ]
        return heads.take(pyramid, torch.from_numpy(np.stack(sized)).bool())
    points = torch.tensor([[_inside(mask, rng)] for mask in masks])
    labels = torch.ones(len(masks), 1, dtype=torch.int32)
    return heads.click(pyramid, Clicks(points, labels, None), 1)


def _inside(mask: np.ndarray, rng: random.Random) -> tuple[float, float]:
    """A point of a mask as people click: away from its edge."""
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    rows, columns = np.nonzero(depth >= depth.max() * 0.6)
    chosen = rng.randrange(len(rows))
    return float(columns[chosen]) + 0.5, float(rows[chosen]) + 0.5


def _coverage(clip: Clip, frame: int, number: int) -> np.ndarray:
    """The share of each low-resolution cell that an object covers, float32 [4g, 4g]."""
    side = TINY.mask_size
    return cv2.resize(clip.mask(frame, number).astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)


def _memory(found: Heads, row: int, frame: int) -> Memory:
    return Memory(frame, found.memories[row], found.pointers[row])
