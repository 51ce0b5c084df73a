"""The Python interface of SAM 3 in Roboflow's `inference` package, on this engine.

    model = SegmentAnything3(model="tiny")
    response = model.segment_image("shapes.png", prompts=[Sam3Prompt(type="text", text="star")])
    for prediction in response.prompt_results[0].predictions:
        print(prediction.confidence, prediction.masks)

Objects keep the embeddings of their last images; their methods may be called from several threads. They raise
UnreadableImage and ImageTooLarge for images, CheckpointError for weights, and ValueError for prompts of a wrong
form, with values that mean nothing, or at places outside the image. `sources.ImageSource` says what an image may be.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from sam3_engine.embedded_images import EmbeddedImages
from sam3_engine.embedding import Embedding
from sam3_engine.encode_masks import concept_instances, visual_instance
from sam3_engine.engine import ConceptItem, Engine, VisualItem
from sam3_engine.prompt_forms import ConceptForm, Sam3Prompt, VisualForm, concept_prompts, visual_prompts
from sam3_engine.prompt_values import check_inside, label, share, shown, whole
from sam3_engine.sources import ChannelOrder, ImageSource
from sam3_engine.types import Box, MaskFormat

__all__ = ["Sam3ForInteractiveImageSegmentation", "Sam3Prompt", "SegmentAnything3"]

FORMATS: Mapping[str, MaskFormat] = {
    "polygon": "polygon",
    "json": "polygon",
    "polygon_holes": "polygon_holes",
    "rle": "rle",
    "binary": "binary",
}
"""Mask formats by the names that callers use; see `types.Instance` for what each holds."""


@dataclass(frozen=True, slots=True)
class Echo:
    """The prompt that a result answers. `type` is "visual" when it has boxes."""

    prompt_index: int
    type: str
    text: str | None
    num_boxes: int


@dataclass(frozen=True, slots=True)
class Prediction:
    """One instance. `masks` as `format` says; `box` (x0, y0, x1, y1) and `area` of the mask, in pixels."""

    format: str
    confidence: float
    masks: Any
    box: Box
    area: int


@dataclass(frozen=True, slots=True)
class PromptResult:
    """The instances of one prompt, highest confidence first. `warnings`: sentences about the prompt, such as that the
    model reads only the beginning of its text."""

    prompt_index: int
    echo: Echo
    predictions: list[Prediction]
    warnings: list[str]


@dataclass(frozen=True, slots=True)
class SegmentationResponse:
    """One result per prompt, in order. `time`: seconds from call to return. `width` and `height` of the upright image,
    in pixels."""

    prompt_results: list[PromptResult]
    time: float
    width: int
    height: int


class _Sdk:
    """The common part of both classes: an engine, and the embeddings of the last images."""

    def __init__(
        self,
        model_id: str = "sam3/sam3_final",
        *,
        model: str = "sam3",
        checkpoint: str | None = None,
        base: str | None = None,
        engine: Engine | None = None,
        embedding_cache_size: int = 8,
        array_channels: ChannelOrder = "bgr",
        max_pixels: int | None = None,
    ) -> None:
        """Load a model, or use `engine`, which other objects may use too.

        model: "sam3" (the official weights: from `checkpoint`, else from the Hub with HF_TOKEN) or "tiny" (bundled;
        knows coloured shapes only). checkpoint, base: files, folders, URLs or repositories, as `Engine.load` takes
        them. model_id: "sam3/sam3_final", or any other name below "sam3/". array_channels: the order of the colours in
        image arrays. max_pixels: refuse larger images.
        """
        _check_model_id(model_id)
        if array_channels not in get_args(ChannelOrder):
            raise ValueError(f"unknown array_channels {array_channels!r}: expected bgr or rgb")
        if engine is not None and not isinstance(engine, Engine):
            raise ValueError(f"engine is a loaded Engine, not {shown(engine)}")
        whole(embedding_cache_size, "embedding_cache_size", 0)
        if max_pixels is not None:
            whole(max_pixels, "max_pixels", 1)
        self.model_id = model_id
        self.engine = engine or Engine.load(model, checkpoint=checkpoint, base=base)
        self._images = EmbeddedImages(self.engine, embedding_cache_size, array_channels, max_pixels)


def _check_model_id(model_id: object) -> None:
    if not isinstance(model_id, str) or not model_id.startswith("sam3/"):
        raise ValueError(f"unknown model_id {shown(model_id)}: expected sam3/sam3_final")


class SegmentAnything3(_Sdk):
    """Finds every instance of the concepts that texts and example boxes name."""

    def segment_image(
        self,
        image: ImageSource | None = None,
        image_id: str | None = None,
        prompts: ConceptForm | Sequence[ConceptForm] = (),
        output_prob_thresh: float = 0.5,
        format: str = "polygon",
        nms_iou_threshold: float | None = None,
    ) -> SegmentationResponse:
        """Segment an image: a path, URL, array, Pillow image or file's bytes, or the `image_id` of an earlier
        one.

        Instances with a confidence below `output_prob_thresh` are left out. With `nms_iou_threshold`, an instance is
        also left out when it overlaps a more confident instance, of any prompt, by more than this mask IoU. format:
        polygon (or json), polygon_holes, rle or binary.
        """
        start = time.perf_counter()
        if format not in tuple(FORMATS):
            raise ValueError(f"unknown format {format!r}: choose one of {', '.join(FORMATS)}")
        if nms_iou_threshold is not None:
            share(nms_iou_threshold, "nms_iou_threshold")
        concepts = concept_prompts(prompts, output_prob_thresh)
        embedded = self._images.get(image, image_id)
        check_inside(concepts, embedded.size)
        (found,) = self.engine.segment_concepts([ConceptItem(embedded.features, embedded.size, concepts)])
        mask_format = FORMATS[format]
        results = []
        for index, instances in enumerate(
            concept_instances(found, embedded.size, mask_format, nms_iou_threshold)
        ):
            concept = concepts[index]
            kind = "visual" if concept.boxes else "text"
            predictions = [
                Prediction(mask_format, one.score, one.masks, one.box, one.area) for one in instances
            ]
            echo = Echo(index, kind, concept.text, len(concept.boxes))
            results.append(PromptResult(index, echo, predictions, list(found[index].warnings)))
        height, width = embedded.size
        return SegmentationResponse(results, time.perf_counter() - start, width, height)


class Sam3ForInteractiveImageSegmentation(_Sdk):
    """Segments one object per prompt, from clicks and/or a box, as SAM 2 did."""

    def embed_image(
        self, image: ImageSource | None = None, image_id: str | None = None
    ) -> tuple[Embedding, tuple[int, int], str]:
        """Encode an image once: returns its embedding, its size (height, width) and its id for
        `segment_image`.

        Without an `image_id`, the id is derived from the content. An id that is given again with another image
        names the new image.
        """
        embedded = self._images.get(image, image_id)
        return embedded.embedding, (embedded.size.height, embedded.size.width), embedded.image_id

    def segment_image(
        self,
        image: ImageSource | None = None,
        image_id: str | None = None,
        prompts: VisualForm | Sequence[VisualForm] | None = None,
        multimask_output: bool = True,
        mask_input: npt.ArrayLike | None = None,
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """One mask per prompt, in order: masks bool [N, H, W], scores float32 [N], low-res logits float32 [N,
        h, w].

        prompts, mask_input: as in `prompt_forms.visual_prompts`. multimask_output: return the best of three
        proposals; otherwise the model makes only one.
        """
        multimask = label(multimask_output, "multimask_output")
        asked = visual_prompts(prompts, mask_input, self.engine.spec.mask_size)
        embedded = self._images.get(image, image_id)
        check_inside(asked, embedded.size)
        (found,) = self.engine.segment_visual(
            [VisualItem(embedded.features, embedded.size, asked, multimask)]
        )
        masks = np.stack([visual_instance(mask, embedded.size, "binary").masks for mask in found])
        scores = np.array([mask.score for mask in found], dtype=np.float32)
        return masks, scores, np.stack([mask.low_res_logits for mask in found])
