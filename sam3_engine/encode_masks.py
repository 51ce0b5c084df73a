"""Turns the engine's low-resolution mask logits into instances that can be sent as JSON.

Instances are up-sampled and encoded one at a time, so at most one full-size mask exists at any moment. The format
"binary" is the exception: its answer consists of full-size masks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from sam3_engine.holes import fill_holes
from sam3_engine.nms import keep_by_mask_iou
from sam3_engine.polygons import to_polygons, to_polygons_with_holes
from sam3_engine.regions import RegionMask, mask_of_array
from sam3_engine.rle import Rle, to_rle
from sam3_engine.types import ImageSize, Instance, MaskFormat

if TYPE_CHECKING:
    import torch

    from sam3_engine.engine import ConceptDetections, VisualMask

TRANSFER = 32
"""Instances whose logits are copied from the device at once (32 x 288 x 288 float32 are 11 MB)."""


def concept_instances(
    detections: Sequence[ConceptDetections],
    size: ImageSize,
    mask_format: MaskFormat,
    nms_iou_threshold: float | None,
    *,
    arrays: bool = False,
) -> list[list[Instance]]:
    """The instances of each prompt of one image, in the order of the detections (highest score first).

    nms_iou_threshold: drop an instance that overlaps an instance of a higher score, of any prompt, by more than
    this mask IoU; None keeps all. arrays: polygons as integer arrays [N, 2], not lists. A mask covers the pixels
    whose logits are above zero; a detection whose mask has no pixel is left out.
    """
    per_prompt: list[list[Instance]] = []
    scores: list[float] = []
    rles: list[Rle] = []
    for found in detections:
        instances = []
        for row, logits in enumerate(_rows(found.mask_logits)):
            mask = mask_of_array(logits, size)
            if not mask.area:
                continue
            rle = to_rle(mask) if nms_iou_threshold is not None or mask_format == "rle" else None
            masks = rle if mask_format == "rle" else encode(mask, mask_format, arrays=arrays)
            score = float(found.scores[row])
            instances.append(Instance(score, mask.box, mask.area, masks))
            if rle is not None:
                scores.append(score)
                rles.append(rle)
        per_prompt.append(instances)
    if nms_iou_threshold is None:
        return per_prompt
    kept = set(keep_by_mask_iou(scores, rles, nms_iou_threshold))
    indices = iter(range(len(scores)))
    return [[instance for instance in instances if next(indices) in kept] for instances in per_prompt]


def visual_instance(
    mask: VisualMask, size: ImageSize, mask_format: MaskFormat, *, arrays: bool = False
) -> Instance:
    """The instance of one click or box prompt. The mask covers the pixels whose logits are >= 0, and small holes:
    see `holes`."""
    (logits,) = _rows(mask.mask_logits.unsqueeze(0))
    region = mask_of_array(fill_holes(logits), size, inclusive=True)
    masks = encode(region, mask_format, arrays=arrays)
    return Instance(mask.score, region.box, region.area, masks, mask.low_res_logits)


def encode(mask: RegionMask, mask_format: MaskFormat, *, arrays: bool = False) -> Any:
    """A mask in one of the formats that `types.Instance` describes. arrays: polygons as integer arrays [N, 2]."""
    match mask_format:
        case "polygon":
            return to_polygons(mask, arrays=arrays)
        case "polygon_holes":
            return to_polygons_with_holes(mask, arrays=arrays)
        case "rle":
            return to_rle(mask)
        case "binary":
            return mask.full()
        case _:
            raise ValueError(
                f"unknown mask format {mask_format!r}: expected polygon, polygon_holes, rle or binary"
            )


def _rows(logits: torch.Tensor) -> Iterator[npt.NDArray[np.float32]]:
    """The float32 logits [h, w] of each of N instances; a few at a time leave the device."""
    for part in logits.detach().split(TRANSFER):
        yield from part.cpu().float().numpy()
