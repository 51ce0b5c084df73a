"""Promptable visual segmentation (PVS): `POST /sam3/visual_segment`."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import Discriminator, Field, Tag

from deployments.protocol import Answer, VisualRequest
from sam3_engine.types import Box as Corners
from sam3_engine.types import Instance, MaskFormat, Point, VisualPrompt
from serve_app.http.errors import UnsupportedFormat
from serve_app.http.reading.image_fields import ImageOrImages
from serve_app.http.sam3.call import Forms, read_call
from serve_app.http.sam3.examples import IMAGE
from serve_app.http.sam3.masks import (
    Prediction,
    ResponseOfImage,
    answer_json,
    dump,
    mask_format,
    of_image,
    prediction,
)
from serve_app.http.sam3.npz import npz
from serve_app.http.sam3.route import documented
from serve_app.http.schemas import (
    MAX_POINTS,
    MAX_VISUAL_PROMPTS,
    Coordinate,
    ImageId,
    Label,
    Length,
    ModelFields,
    RequestModel,
    ResponseModel,
)

router = APIRouter(tags=["SAM 3"])

FORMATS: dict[str, MaskFormat] = {
    "json": "polygon",
    "rle": "rle",
    "binary": "binary",
    "polygon_holes": "polygon_holes",
    "polygon": "polygon",
}


class Sam2Point(RequestModel):
    """A click, in absolute pixels of the upright image."""

    x: Coordinate
    y: Coordinate
    positive: Label = True
    """True: the pixel belongs to the object; false: it does not."""


class CenteredBox(RequestModel):
    """A box by its centre and size, in absolute pixels."""

    x: Coordinate
    """x of the centre."""
    y: Coordinate
    """y of the centre."""
    width: Length
    height: Length

    def corners(self) -> Corners:
        """(x0, y0, x1, y1)."""
        half_width, half_height = self.width / 2, self.height / 2
        return (self.x - half_width, self.y - half_height, self.x + half_width, self.y + half_height)


class Sam2Prompt(RequestModel):
    """One object, by clicks and/or a box."""

    points: Annotated[list[Sam2Point], Field(fail_fast=True, max_length=MAX_POINTS)] | None = None
    """Clicks on the object (positive) and beside it."""
    box: CenteredBox | None = None
    """A box around the object; x, y is its centre."""

    def to_prompt(self) -> VisualPrompt:
        """The engine's form of this prompt."""
        points = tuple(Point(point.x, point.y, point.positive) for point in self.points or ())
        return VisualPrompt(points=points, box=self.box.corners() if self.box else None)


Prompts = Annotated[list[Sam2Prompt], Field(max_length=MAX_VISUAL_PROMPTS)]


class Sam2PromptSet(RequestModel):
    """The objects to segment."""

    prompts: Prompts | None = None
    """One prompt per object, answered by one mask each."""


def _form(value: Any) -> str:
    if isinstance(value, list):
        return "<list>"
    keys = value if isinstance(value, dict) else {}
    return "<one>" if "prompts" not in keys and ("points" in keys or "box" in keys) else "<set>"


PromptForms = Annotated[
    Annotated[Sam2PromptSet, Tag("<set>")]
    | Annotated[Prompts, Tag("<list>")]
    | Annotated[Sam2Prompt, Tag("<one>")],
    Discriminator(_form),
]
"""A prompt set, a plain list of prompts, or a single prompt."""


class Sam2SegmentationFields(ModelFields):
    """The fields of a visual request, without the image."""

    image_id: ImageId | None = None
    """A name for the image, for later requests. Without `image`: the name of an image that the server has."""
    prompts: PromptForms | None = None
    """The objects to segment, one mask each. Without prompts, the model proposes one mask by itself."""
    format: str | None = "json"
    """One of `json` (polygons), `rle`, `binary` (an .npz file), `polygon_holes`."""
    sam2_version_id: str | None = "hiera_large"
    """Accepted and ignored: the model is SAM 3."""
    multimask_output: bool | None = True
    """True: the model proposes three masks per prompt; false: one. The answer holds the best proposal."""
    save_logits_to_cache: bool | None = False
    """Keep the low-resolution logits of the answer, so that a later click can refine them."""
    load_logits_from_cache: bool | None = False
    """Start from the kept logits of an earlier request whose clicks are a part of this request's."""

    def to_request(self) -> VisualRequest:
        """The segmenter's form of this request. Raises UnsupportedFormat."""
        # A request without prompts becomes one empty prompt: the model gets one padding point, as in SAM.
        prompts = [prompt.to_prompt() for prompt in self._flat()] or [VisualPrompt()]
        name = mask_format(FORMATS, "json" if self.format is None else self.format)
        return VisualRequest(
            prompts=prompts,
            mask_format=name,
            multimask=self.multimask_output is not False,
            save_logits=bool(self.save_logits_to_cache),
            load_logits=bool(self.load_logits_from_cache),
            as_json=name != "binary",
        )

    def _flat(self) -> list[Sam2Prompt]:
        match self.prompts:
            case Sam2Prompt() as one:
                return [one]
            case Sam2PromptSet(prompts=prompts):
                return prompts or []
            case prompts:
                return prompts or []


class Sam2SegmentationRequest(Sam2SegmentationFields):
    """Segment the objects that clicks and boxes show."""

    image: ImageOrImages
    """The image to segment, or a list of images, answered by a list in the same order."""


class Sam2CachedSegmentationRequest(Sam2SegmentationFields):
    """Segment objects in an image that the server already has."""

    image: None = None
    image_id: ImageId
    """The image's name, from an earlier request or its answer."""


class Sam2SegmentationPrediction(Prediction):
    """The mask of one prompt: the model's best proposal."""


class Sam2PromptResult(ResponseModel):
    """The mask of one prompt."""

    prompt_index: int
    """Index of the prompt in the request."""
    predictions: list[Sam2SegmentationPrediction]
    """One mask."""


class Sam2SegmentationResponse(ResponseOfImage):
    """One mask per prompt, in the order of the prompts."""

    prompt_results: list[Sam2PromptResult]
    """One per prompt."""
    predictions: list[Sam2SegmentationPrediction] = Field(default_factory=list)
    """The same masks in one list, as inference-sdk reads them."""


EXAMPLES: dict[str, Any] = {
    "click": {
        "summary": "The object under a click",
        "value": {"image": IMAGE, "prompts": [{"points": [{"x": 44, "y": 48, "positive": True}]}]},
    },
    "box": {
        "summary": "The object in a box (x, y is its centre)",
        "value": {
            "image": IMAGE,
            "prompts": {"prompts": [{"box": {"x": 44, "y": 48, "width": 32, "height": 32}}]},
            "multimask_output": False,
            "format": "rle",
        },
    },
}

FORMS = Forms(Sam2SegmentationFields, Sam2SegmentationRequest, Sam2CachedSegmentationRequest)
DOCUMENTED = documented(
    "SAM3 PVS (promptable visual segmentation)",
    FORMS,
    EXAMPLES,
    Sam2SegmentationResponse,
    {
        "application/octet-stream": {
            "schema": {
                "type": "string",
                "format": "binary",
                "description": "format `binary`: an .npz file with masks, confidences, low_res_logits",
            }
        }
    },
)


@router.post("/sam3/visual_segment", **DOCUMENTED)
async def visual_segment(request: Request) -> Response:
    """Segment the objects that clicks and boxes show (PVS): one mask per prompt.

    For an image that the server has, send `image_id` without `image`: nothing is uploaded or encoded again.
    """
    call = await read_call(request, FORMS)
    asked = call.fields.to_request()
    if asked.mask_format == "binary" and call.listed:
        raise UnsupportedFormat("binary", ["json", "rle", "polygon_holes"], "for a list of images")
    answers = await call.ask(asked)
    if asked.mask_format == "binary":
        return Response(await asyncio.to_thread(npz, answers[0]), media_type="application/octet-stream")
    seconds = call.exchange.seconds
    bodies = [visual_body(answer, asked.mask_format, seconds) for answer in answers]
    return answer_json(bodies, call.listed)


def visual_body(answer: Answer[Sequence[Instance]], name: MaskFormat, seconds: float) -> dict[str, Any]:
    """The answer of `/sam3/visual_segment`: `prompt_results` as documented, and `predictions` for inference-sdk."""
    # Written once, used twice.
    predictions = [orjson.Fragment(dump(prediction(instance, name))) for instance in answer.results]
    return {
        "predictions": predictions,
        "prompt_results": [
            {"prompt_index": index, "predictions": [mask]} for index, mask in enumerate(predictions)
        ],
        **of_image(answer, seconds),
    }
