"""Bodies and answers of the remote server, as X-AnyLabeling 4.2 writes and reads them."""

from typing import Annotated, Any, Literal

from pydantic import Field

from serve_app.http.schemas import (
    MAX_POINTS,
    MAX_TEXT_CHARACTERS,
    Coordinate,
    Label,
    RequestModel,
    ResponseModel,
    Threshold,
)
from serve_app.http.tools.outlines import FINENESS

MOST_TEXT = 16 * MAX_TEXT_CHARACTERS


class XAnyLabelingMark(RequestModel):
    """A click (x, y) or a rectangle (x0, y0, x1, y1), in pixels."""

    type: Literal["point", "rectangle"]
    data: Annotated[list[Coordinate], Field(min_length=2, max_length=4)]
    label: Label = True
    """1: on the object, or like it. 0: beside it, or unlike it."""


class XAnyLabelingParams(RequestModel):
    """The prompts and options of a prediction."""

    text_prompt: Annotated[str, Field(max_length=MOST_TEXT)] | None = None
    """Phrases, separated by commas or full stops."""
    marks: Annotated[list[XAnyLabelingMark], Field(max_length=MAX_POINTS)] | None = None
    conf_threshold: Threshold | None = None
    iou_threshold: Threshold | None = None
    """Mask IoU above which the weaker of two instances is left out; 0 or none: no instance is."""
    epsilon_factor: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = FINENESS
    """How far an outline may leave the mask's border, as a part of the border's length."""
    show_masks: bool | None = True
    """Answer polygons."""
    show_boxes: bool | None = False
    """Answer rectangles."""


class XAnyLabelingPredict(RequestModel):
    """A prediction is asked for."""

    model: Annotated[str, Field(max_length=400)]
    """An id of the list."""
    image: str
    """The image file in base64, with or without `data:image/png;base64,`."""
    params: XAnyLabelingParams = Field(default_factory=XAnyLabelingParams)


class XAnyLabelingModel(ResponseModel):
    """A model as the program shows it."""

    display_name: str
    widgets: list[dict[str, Any]]
    """The controls of the program, with their first values."""
    params: dict[str, Any]
    batch_processing_mode: str | None


class XAnyLabelingModels(ResponseModel):
    """The models."""

    success: bool
    data: dict[str, XAnyLabelingModel]


class XAnyLabelingShape(ResponseModel):
    """A polygon or a rectangle, in pixels."""

    label: str
    shape_type: Literal["polygon", "rectangle"]
    points: list[list[float]]
    score: float
    group_id: int | None
    """The same for the parts of one mask, where it has several."""


class XAnyLabelingPrediction(ResponseModel):
    """The shapes of an image."""

    shapes: list[XAnyLabelingShape]
    description: str
    replace: bool | None = None
    """Whether they replace the image's shapes; without it, the program's own switch decides."""


class XAnyLabelingAnswer(ResponseModel):
    """The answer to a prediction."""

    success: bool
    data: XAnyLabelingPrediction


class XAnyLabelingErrorText(ResponseModel):
    """The kind of an error, and its text."""

    code: str
    message: str


class XAnyLabelingError(ResponseModel):
    """An error."""

    success: bool
    error: XAnyLabelingErrorText
