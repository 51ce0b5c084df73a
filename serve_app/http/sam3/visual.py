"""Promptable visual segmentation (PVS): the bodies of `/sam3/visual_segment`."""

from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag

from deployments.protocol import VisualRequest
from sam3_engine.types import Box as Corners
from sam3_engine.types import Point, VisualPrompt
from serve_app.http.sam3.formats import visual_format
from serve_app.http.sam3.image_fields import ImageOrImages
from serve_app.http.schemas import (
    MAX_POINTS,
    MAX_VISUAL_PROMPTS,
    AcceptedFields,
    Coordinate,
    ImageId,
    Label,
    Length,
    RequestModel,
)


class Sam2Point(RequestModel):
    """A click, in absolute pixels of the upright image."""

    x: Coordinate
    y: Coordinate
    positive: Label = True
    """Whether the pixel belongs to the object."""


class CenteredBox(RequestModel):
    """A box by its centre and size, in absolute pixels."""

    x: Coordinate
    """Of the centre."""
    y: Coordinate
    """Of the centre."""
    width: Length
    height: Length

    def corners(self) -> Corners:
        """(x0, y0, x1, y1)."""
        half_width, half_height = self.width / 2, self.height / 2
        return (self.x - half_width, self.y - half_height, self.x + half_width, self.y + half_height)


class Sam2Prompt(RequestModel):
    """One object, by clicks and/or a box."""

    points: Annotated[list[Sam2Point], Field(fail_fast=True, max_length=MAX_POINTS)] | None = None
    """Clicks on the object, and beside it."""
    box: CenteredBox | None = None
    """A box around the object; x, y is its centre."""

    def to_prompt(self) -> VisualPrompt:
        """For the engine."""
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


class Sam2SegmentationFields(AcceptedFields):
    """What a visual request says beside the image."""

    image_id: ImageId | None = None
    """Names the image for later requests. With no image: the image that an earlier request gave this name."""
    prompts: PromptForms | None = None
    """The objects to segment, one mask each. Without any, the model proposes one mask by itself."""
    format: str | None = "json"
    """One of `json` (polygons), `rle`, `binary` (an .npz file), `polygon_holes`."""
    sam2_version_id: str | None = "hiera_large"
    """Accepted and ignored: SAM 3 answers."""
    multimask_output: bool | None = True
    """Whether the model proposes three masks per prompt, or one. The best proposal is answered."""
    save_logits_to_cache: bool | None = False
    """Keep the low-resolution logits of the answer, to refine them by a later click."""
    load_logits_from_cache: bool | None = False
    """Start from the logits of an earlier answer whose clicks were a part of these."""

    def to_request(self) -> VisualRequest:
        """For the segmenter. Raises UnsupportedFormat."""
        # No prompt at all is one empty prompt: the model gets one padding point, as in SAM.
        prompts = [prompt.to_prompt() for prompt in self._flat()] or [VisualPrompt()]
        mask_format = visual_format(self.format)
        return VisualRequest(
            prompts=prompts,
            mask_format=mask_format,
            multimask=self.multimask_output is not False,
            save_logits=bool(self.save_logits_to_cache),
            load_logits=bool(self.load_logits_from_cache),
            as_json=mask_format != "binary",
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
    """The same for an image that the server already has: what a click on a known image sends."""

    image: None = None
    image_id: ImageId
    """The name of the image, as an earlier request gave or was given it."""
