"""What a track can begin with, and be corrected by: clicks and a box (`types.VisualPrompt`), or a mask."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from sam3_engine.types import VisualPrompt


@dataclass(frozen=True, slots=True)
class MaskPrompt:
    """An object shown by its mask. logits: float [h, w] for the whole frame, at any resolution; the mask is where they
    are above zero after bilinear interpolation."""

    logits: torch.Tensor

    @classmethod
    def of(cls, mask: npt.NDArray[np.bool_]) -> "MaskPrompt":
        """The prompt of a mask, bool [h, w]."""
        return cls(torch.from_numpy(np.where(mask, np.float32(1), np.float32(-1))))


TrackPrompt = VisualPrompt | MaskPrompt


def at_side(prompt: MaskPrompt, side: int, device: torch.device) -> torch.Tensor:
    """The mask with the model's resolution, bool [side, side]."""
    logits = prompt.logits.to(device, torch.float32)[None, None]
    if max(logits.shape[-2:]) > side:  # a thin part of a large mask must not fall between the samples
        scaled = F.interpolate(logits, (side, side), mode="bilinear", align_corners=False, antialias=True)
    else:
        scaled = F.interpolate(logits, (side, side), mode="bilinear", align_corners=False)
    return scaled[0, 0] > 0
