"""Promptable concept segmentation (PCS): `POST /sam3/concept_segment`."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Self

from fastapi import APIRouter, Request, Response
from pydantic import BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from deployments.protocol import Answer, ConceptRequest
from sam3_engine.prompt_values import check_content, check_one_form
from sam3_engine.types import Box as Corners
from sam3_engine.types import ConceptPrompt, ConceptResult, MaskFormat
from serve_app.http.reading.image_fields import ImageOrImages
from serve_app.http.sam3.call import Forms, read_call
from serve_app.http.sam3.examples import IMAGE
from serve_app.http.sam3.masks import (
    Prediction,
    ResponseOfImage,
    answer_json,
    mask_format,
    of_image,
    prediction,
)
from serve_app.http.sam3.route import documented
from serve_app.http.schemas import (
    MAX_BOXES,
    MAX_PROMPTS,
    MAX_TEXT_CHARACTERS,
    NOT_BLANK,
    Coordinate,
    ImageId,
    Label,
    Length,
    ModelFields,
    RequestModel,
    ResponseModel,
    Threshold,
    tag_by_key,
)

router = APIRouter(tags=["SAM 3"])

FORMATS: dict[str, MaskFormat] = {
    "polygon": "polygon",
    "rle": "rle",
    "polygon_holes": "polygon_holes",
    "json": "polygon",  # the name in the Python SDK's documentation
}
DEFAULT_THRESHOLD = 0.5


class Box(RequestModel):
    """A box by its top-left corner and size, in absolute pixels."""

    x: Coordinate
    y: Coordinate
    width: Length
    height: Length

    def corners(self) -> Corners:
        """(x0, y0, x1, y1)."""
        return (self.x, self.y, self.x + self.width, self.y + self.height)


class BoxXYXY(RequestModel):
    """A box by two opposite corners, in absolute pixels."""

    x0: Coordinate
    y0: Coordinate
    x1: Coordinate
    y1: Coordinate

    def corners(self) -> Corners:
        """(x0, y0, x1, y1) with the top-left corner first, for any two opposite corners."""
        return (min(self.x0, self.x1), min(self.y0, self.y1), max(self.x0, self.x1), max(self.y0, self.y1))


def _one_form(value: Any) -> Any:
    """A box in both forms at once would be a guess."""
    if isinstance(value, dict):
        try:
            check_one_form(value)
        except ValueError as error:
            raise PydanticCustomError("box", str(error)) from None
    return value


ExemplarBox = Annotated[
    Annotated[Box, Tag("<xywh>")] | Annotated[BoxXYXY, Tag("<xyxy>")],
    Discriminator(tag_by_key("x0", "<xyxy>", "<xywh>")),
    BeforeValidator(_one_form),
]


HOLDS_SOMETHING: JsonDict = {
    "anyOf": [
        {"required": ["boxes"], "properties": {"boxes": {"type": "array", "minItems": 1}}},
        {"required": ["text"], "properties": {"text": {"type": "string", "pattern": NOT_BLANK}}},
    ]
}
"""The OpenAPI rule that a prompt has a text or a box."""


class PromptContent(RequestModel):
    """The content of a concept prompt: a text, example boxes, or both."""

    model_config = ConfigDict(json_schema_extra=HOLDS_SOMETHING)

    text: Annotated[str, Field(max_length=MAX_TEXT_CHARACTERS)] | None = None
    """The concept in words: a noun phrase such as `red car`."""
    output_prob_thresh: Threshold | None = None
    """Score threshold of this prompt. Overrides the request's."""
    boxes: Annotated[list[ExemplarBox], Field(fail_fast=True, max_length=MAX_BOXES)] | None = None
    """Examples, as boxes in absolute pixels of the upright image: XYWH (x, y the top-left corner) or XYXY."""
    box_labels: Annotated[list[Label], Field(fail_fast=True, max_length=MAX_BOXES)] | None = None
    """One label per box: 1 or true for "like this", 0 or false for "unlike this". Without labels: all like this."""

    @model_validator(mode="after")
    def _holds_something(self) -> Self:
        kind = getattr(self, "type", None)
        check_content(kind, self.words(), len(self.boxes or ()), len(self.box_labels or ()))
        return self

    def words(self) -> str | None:
        """The text, or None when it is blank."""
        return self.text if self.text and re.search(NOT_BLANK, self.text) else None

    def to_prompt(self, threshold: float) -> ConceptPrompt:
        """The engine's form of this prompt. `threshold`: the request's, for prompts without their own."""
        boxes = tuple(box.corners() for box in self.boxes or ())
        labels = tuple(self.box_labels or [True] * len(boxes))
        own = self.output_prob_thresh
        return ConceptPrompt(self.words(), boxes, labels, threshold if own is None else own)

    def echo(self, index: int) -> dict[str, Any]:
        """The part of the prompt that the answer repeats."""
        kind = "visual" if self.boxes else "text"
        return {"prompt_index": index, "type": kind, "text": self.words(), "num_boxes": len(self.boxes or ())}


class Sam3Prompt(PromptContent):
    """One concept: text and/or example boxes. Every instance of it is segmented."""

    type: str
    """`text` or `visual`. It has no effect: the prompt's text and boxes decide."""


class Sam3UntypedPrompt(PromptContent):
    """A concept prompt without `type`, as in the hosted API's sample code."""

    type: None = None
    """Not given."""


def _typed(value: Any) -> str:
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return "<untyped>" if kind is None else "<typed>"


AnyPrompt = Annotated[
    Annotated[Sam3Prompt, Tag("<typed>")] | Annotated[Sam3UntypedPrompt, Tag("<untyped>")],
    Discriminator(_typed),
]


class Sam3SegmentationFields(ModelFields):
    """The fields of a concept request, without the image."""

    prompts: Annotated[list[AnyPrompt], Field(min_length=1, max_length=MAX_PROMPTS)]
    """The concepts to segment."""
    format: str | None = "polygon"
    """One of `polygon`, `rle`, `polygon_holes`."""
    image_id: ImageId | None = None
    """A name for the image, for later requests. Without `image`: the name of an image that the server has."""
    output_prob_thresh: Threshold | None = DEFAULT_THRESHOLD
    """Score threshold: instances with a lower score are left out."""
    nms_iou_threshold: Threshold | None = None
    """Mask IoU above which the weaker of two instances, of any prompts, is left out. Unset: none is."""

    def to_request(self, default: float | None = None) -> ConceptRequest:
        """The segmenter's form of this request. default: the model's own threshold, for requests that name none. Raises
        UnsupportedFormat."""
        named = self.output_prob_thresh if "output_prob_thresh" in self.model_fields_set else None
        threshold = next((one for one in (named, default) if one is not None), DEFAULT_THRESHOLD)
        return ConceptRequest(
            prompts=[prompt.to_prompt(threshold) for prompt in self.prompts],
            mask_format=mask_format(FORMATS, "polygon" if self.format is None else self.format),
            nms_iou_threshold=self.nms_iou_threshold,
            as_json=True,
        )


class Sam3SegmentationRequest(Sam3SegmentationFields):
    """Segment every instance of each concept in an image."""

    image: ImageOrImages
    """The image to segment, or a list of images, answered by a list in the same order."""


class Sam3CachedSegmentationRequest(Sam3SegmentationFields):
    """Segment every instance of each concept in an image that the server already has."""

    image: None = None
    image_id: ImageId
    """The image's name, from an earlier request or its answer."""


class Sam3SegmentationPrediction(Prediction):
    """One instance of a concept."""


class Sam3PromptEcho(ResponseModel):
    """The prompt that a result belongs to."""

    prompt_index: int | None = None
    type: str | None = None
    """`visual` when the prompt has boxes, else `text`."""
    text: str | None = None
    """The prompt's text."""
    num_boxes: int | None = None
    """Number of the prompt's boxes."""


class Sam3PromptResult(ResponseModel):
    """The instances of one concept, by confidence, highest first."""

    prompt_index: int
    """Index of the prompt in the request."""
    echo: Sam3PromptEcho | None = None
    """The prompt."""
    warnings: list[str] = Field(default_factory=list)
    """Sentences about the prompt, such as that the model reads only the beginning of its text."""
    predictions: list[Sam3SegmentationPrediction]
    """The instances."""


class Sam3SegmentationResponse(ResponseOfImage):
    """One result per concept, in the order of the prompts."""

    prompt_results: list[Sam3PromptResult]
    """One per prompt."""


EXAMPLES: dict[str, Any] = {
    "text": {
        "summary": "Everything that a phrase names",
        "value": {"image": IMAGE, "prompts": [{"type": "text", "text": "red circle"}]},
    },
    "exemplar": {
        "summary": "Every object like the one in a box",
        "value": {
            "image": IMAGE,
            "prompts": [
                {
                    "type": "visual",
                    "boxes": [{"x": 29, "y": 33, "width": 30, "height": 30}],
                    "box_labels": [1],
                }
            ],
        },
    },
    "several": {
        "summary": "Several concepts, as run-length encoding",
        "value": {
            "image": IMAGE,
            "prompts": [
                {"type": "text", "text": "red circle"},
                {"type": "text", "text": "blue star", "output_prob_thresh": 0.7},
            ],
            "format": "rle",
            "nms_iou_threshold": 0.9,
        },
    },
}

FORMS = Forms(Sam3SegmentationFields, Sam3SegmentationRequest, Sam3CachedSegmentationRequest)
DOCUMENTED = documented(
    "SAM3 PCS (promptable concept segmentation)", FORMS, EXAMPLES, Sam3SegmentationResponse
)


@router.post("/sam3/concept_segment", **DOCUMENTED)
async def concept_segment(request: Request) -> Response:
    """Segment every instance of each concept (PCS).

    A text names a concept, example boxes show it, or both. `masks` are polygons or run-length encodings in
    the pixels of the upright image.
    """
    call = await read_call(request, FORMS)
    asked = call.fields.to_request(call.model.threshold)
    answers = await call.ask(asked)
    seconds = call.exchange.seconds
    bodies = [concept_body(call.fields, answer, asked.mask_format, seconds) for answer in answers]
    return answer_json(bodies, call.listed)


def concept_body(
    fields: Sam3SegmentationFields,
    answer: Answer[Sequence[ConceptResult]],
    name: MaskFormat,
    seconds: float,
) -> dict[str, Any]:
    """The answer of `/sam3/concept_segment`."""
    results = [
        {
            "prompt_index": index,
            "echo": prompt.echo(index),
            "warnings": list(found.warnings),
            "predictions": [prediction(instance, name) for instance in found.instances],
        }
        for index, (prompt, found) in enumerate(zip(fields.prompts, answer.results, strict=True))
    ]
    return {"prompt_results": results, **of_image(answer, seconds)}
