"""Frames on their way to an encoder, in the two forms that the ingress gets them in. No torch, no Ray."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from deployments.video.protocol import NO_PROMPTS, FramePrompts
from sam3_engine.types import ImageSize


@dataclass(frozen=True, slots=True)
class Picture:
    """A frame as it came: the bytes of an image file. number: in its video."""

    number: int
    content: bytes
    prompts: FramePrompts = NO_PROMPTS


@dataclass(frozen=True, slots=True, eq=False)
class Squared:
    """A frame of a video file. square: uint8 [S, S, 3] RGB, what an encoder needs; size: of the upright frame; seconds:
    when it is shown."""

    number: int
    square: npt.NDArray[np.uint8]
    size: ImageSize
    prompts: FramePrompts = NO_PROMPTS
    seconds: float | None = None


Frame = Picture | Squared
