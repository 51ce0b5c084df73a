"""Visual requests in a decoder: clicks and boxes, and the logits that later clicks refine."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from deployments.decoder.handler import Handler
from deployments.decoder.logits import LogitsCache
from deployments.keys import ImageKey
from deployments.protocol import VisualRequest
from sam3_engine.types import ImageSize, Instance

if TYPE_CHECKING:
    from deployments.decoder.features import HotImage
    from sam3_engine.engine import Engine, VisualItem, VisualMask

LOGITS_BYTES = 64 * 2**20


class VisualHandler(Handler[VisualRequest, "VisualItem", "list[VisualMask]"]):
    """One mask per prompt."""

    def __init__(self, engine: "Engine") -> None:
        super().__init__(engine)
        self._logits = LogitsCache(LOGITS_BYTES)

    def item(self, key: ImageKey, image: "HotImage", request: VisualRequest) -> "tuple[VisualItem, int]":
        """All prompts of a request in one item, each with the logits that it may start from."""
        from sam3_engine.engine import VisualItem

        prompts = self._logits.load(key, request.prompts) if request.load_logits else request.prompts
        return VisualItem(image.features, image.size, prompts, request.multimask), len(prompts)  # type: ignore[arg-type]

    def run(self, items: "Sequence[VisualItem]") -> "Sequence[list[VisualMask]]":
        """Masks per item and prompt."""
        return self._engine.segment_visual(items)

    def masks(self, found: "list[VisualMask]") -> int:
        """One per prompt."""
        return len(found)

    def instances(
        self, found: "list[VisualMask]", size: ImageSize, request: VisualRequest
    ) -> Sequence[Instance]:
        """One per prompt, with its logits where the format is binary."""
        from sam3_engine.encode_masks import visual_instance

        instances = [
            visual_instance(mask, size, request.mask_format, arrays=request.as_json) for mask in found
        ]
        if request.mask_format != "binary":
            instances = [replace(instance, low_res_logits=None) for instance in instances]
        return instances

    def keep(self, key: ImageKey, request: VisualRequest, found: "list[VisualMask]") -> None:
        """Keep the answer's logits if the request has `save_logits`."""
        if request.save_logits:
            self._logits.save(key, request.prompts, [mask.low_res_logits for mask in found])

    def forget(self, key: ImageKey) -> None:
        """Drop an image's logits."""
        self._logits.forget(key)
