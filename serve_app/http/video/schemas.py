"""Fields that several routes of videos share."""

from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from deployments.video.protocol import MOST_CONCEPTS, FramePrompts, ObjectPrompt
from sam3_engine.types import ConceptPrompt, MaskFormat
from serve_app.http.sam3.concept import DEFAULT_THRESHOLD
from serve_app.http.sam3.masks import Prediction
from serve_app.http.sam3.visual import Sam2Prompt
from serve_app.http.schemas import (
    MAX_TEXT_CHARACTERS,
    NOT_BLANK,
    WHOLE,
    RequestModel,
    ResponseModel,
    Threshold,
)

FORMATS: dict[str, MaskFormat] = {
    "rle": "rle",
    "polygon": "polygon",
    "polygon_holes": "polygon_holes",
    "json": "polygon",
}
MOST_FRAMES = 1_000_000
MOST_OBJECT_PROMPTS = 64
FrameNumber = Annotated[int, Field(ge=0, le=MOST_FRAMES), WHOLE]


class VideoText(RequestModel):
    """A concept in words: every instance of it is found and followed."""

    text: Annotated[str, Field(max_length=MAX_TEXT_CHARACTERS, pattern=NOT_BLANK)]
    """A noun phrase such as `red car`. It becomes the label of the objects."""
    output_prob_thresh: Threshold | None = None
    """Score threshold of this text; 0.5 unless it is given."""

    def to_prompt(self) -> ConceptPrompt:
        """The engine's form of this text."""
        least = DEFAULT_THRESHOLD if self.output_prob_thresh is None else self.output_prob_thresh
        return ConceptPrompt(self.text, score_threshold=least)


Texts = Annotated[list[VideoText], Field(max_length=MOST_CONCEPTS)]


class VideoObjectPrompt(Sam2Prompt):
    """One object of a frame, by clicks and/or a box as in `/sam3/visual_segment`: a new one, or a correction."""

    object_id: Annotated[int, Field(ge=1), WHOLE] | None = None
    """The object to correct or to remove. Without it, the prompt begins a new object."""
    label: Annotated[str, Field(max_length=MAX_TEXT_CHARACTERS)] | None = None
    """A name for a new object."""
    remove: bool = False
    """Follow the object no longer. Its id is not used again."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        shown = bool(self.points) or self.box is not None
        if self.remove and (self.object_id is None or shown):
            raise PydanticCustomError("video_prompt", "remove goes with object_id alone")
        if not self.remove and not shown:
            raise PydanticCustomError("video_prompt", "a prompt needs points or a box")
        return self

    def to_object(self) -> ObjectPrompt:
        """The service's form of this prompt."""
        return ObjectPrompt(self.object_id, None if self.remove else self.to_prompt(), self.label)


ObjectPrompts = Annotated[list[VideoObjectPrompt], Field(max_length=MOST_OBJECT_PROMPTS)]


def frame_prompts(prompts: list[VideoObjectPrompt] | None, texts: list[VideoText] | None) -> FramePrompts:
    """The service's form of a frame's prompts."""
    return FramePrompts(
        tuple(one.to_object() for one in prompts or ()), tuple(one.to_prompt() for one in texts or ())
    )


class VideoObject(Prediction):
    """One object in a frame."""

    id: int
    """The object's number in its session: from 1 on, never used again."""
    label: str | None
    """The text that found it, or the name that its prompt gave it."""
    presence: float
    """The probability that the object is in the frame."""


class VideoFrame(ResponseModel):
    """One frame with its objects."""

    frame: int
    """The frame's number, from 0."""
    seconds: float | None
    """When the frame is shown, by its video file, counted from the first frame: also right where the rate varies. None
    for frames that came one by one."""
    width: int
    """Width of the upright picture, in pixels."""
    height: int
    """Height of the upright picture, in pixels."""
    objects: list[VideoObject]
    """The objects that are seen. Their `confidence` is that of the latest detection, or of the prompt's mask."""
    hidden: list[int]
    """Ids of objects that are followed and not seen in this frame."""
    ended: list[int]
    """Ids of objects that are followed no longer from this frame on."""
    warnings: list[str]
    """Sentences for people, such as that the tracker's memory was lost."""
