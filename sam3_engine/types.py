"""The model's prompts and results. Needs no torch.

Coordinates are pixels of the upright original image throughout: x to the right, y down, (0, 0) the top-left
corner of the first pixel. Boxes are (x0, y0, x1, y1). Nothing here is normalised or resized; the engine does that.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

Box = tuple[float, float, float, float]
MaskFormat = Literal["polygon", "polygon_holes", "rle", "binary"]


class ImageSize(NamedTuple):
    """Size of the upright original image, in pixels."""

    height: int
    width: int


@dataclass(frozen=True, slots=True)
class ConceptPrompt:
    """A prompt for every instance of one concept (promptable concept segmentation, SAM 3 paper, section 2).

    `text` names it, `boxes` show examples of it; `box_labels[i]` is True for "like this" and False for "unlike
    this". A prompt with boxes and no text uses the model's own text "visual".
    """

    text: str | None = None
    boxes: tuple[Box, ...] = ()
    box_labels: tuple[bool, ...] = ()
    score_threshold: float = 0.5

    def __post_init__(self) -> None:
        if not self.text and not self.boxes:
            raise ValueError("a concept prompt needs a text or at least one box")
        if len(self.boxes) != len(self.box_labels):
            raise ValueError("a concept prompt needs one label per box")


class Point(NamedTuple):
    """A click, x and y in pixels; `positive` says whether this pixel belongs to the object."""

    x: float
    y: float
    positive: bool = True


@dataclass(frozen=True, slots=True)
class VisualPrompt:
    """A prompt for one object by clicks and/or a box (promptable visual segmentation).

    A prompt may have neither points nor a box: the model then gets one padding point, as in SAM.
    `previous_logits`: low-resolution mask logits of an earlier answer, float32 [h, w], to be refined.
    """

    points: tuple[Point, ...] = ()
    box: Box | None = None
    previous_logits: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True, slots=True)
class ConceptResult:
    """The instances of one concept prompt, highest score first. warnings: sentences for the client, such as that the
    text was cut."""

    instances: Sequence["Instance"]
    warnings: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Instance:
    """One mask with its score. `masks` depends on the mask format:

    polygon: list of polygons, each a list of [x, y] integers. polygon_holes: list of {"outer", "holes"}.
    rle: {"size": [h, w], "counts": str} (COCO compressed, column-major). binary: bool array [H, W].
    `box` is the mask's own bounding box: within the image, x1 and y1 exclusive, all zero for an empty mask. `area`
    counts the mask's pixels.
    """

    score: float
    box: Box
    area: int
    masks: Any
    low_res_logits: npt.NDArray[np.float32] | None = field(default=None, compare=False)
