"""Concept requests in a decoder."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from deployments.decoder.handler import Handler
from deployments.keys import ImageKey
from deployments.protocol import ConceptRequest
from sam3_engine.types import ConceptResult, ImageSize

if TYPE_CHECKING:
    from deployments.decoder.features import HotImage
    from sam3_engine.engine import ConceptDetections, ConceptItem

    Detections = list[ConceptDetections]
    """One per prompt."""


class ConceptHandler(Handler[ConceptRequest, "ConceptItem", "Detections"]):
    """Every instance of each concept."""

    def item(self, key: ImageKey, image: "HotImage", request: ConceptRequest) -> "tuple[ConceptItem, int]":
        """All prompts of a request in one item."""
        from sam3_engine.engine import ConceptItem

        item = ConceptItem(image.features, image.size, request.prompts)  # type: ignore[arg-type]
        return item, len(request.prompts)

    def run(self, items: "Sequence[ConceptItem]") -> "Sequence[Detections]":
        """Detections per item and prompt."""
        return self._engine.segment_concepts(items)

    def masks(self, found: "Detections") -> int:
        """Number of masks, of all prompts together."""
        return sum(len(one.scores) for one in found)

    def instances(
        self, found: "Detections", size: ImageSize, request: ConceptRequest
    ) -> Sequence[ConceptResult]:
        """One result per prompt."""
        from sam3_engine.encode_masks import concept_instances

        per_prompt = concept_instances(
            found, size, request.mask_format, request.nms_iou_threshold, arrays=request.as_json
        )
        return [
            ConceptResult(instances, one.warnings) for instances, one in zip(per_prompt, found, strict=True)
        ]
